#include "optim/plan_output.h"

#include <fmt/format.h>

#include <iterator>

namespace strata::optim {

std::string plan_csv(const Plan& plan) {
    std::string out = "step,stage,group,trainable,lr\n";
    for (std::int64_t step = 0; step < plan.total_steps; ++step) {
        const std::string& stage = plan.stage_at(step).name;
        for (std::size_t g = 0; g < plan.groups.size(); ++g) {
            fmt::format_to(std::back_inserter(out), "{},{},{},{},{}\n", step, stage, plan.groups[g].name,
                           plan.trainable(g, step) ? 1 : 0, plan.learning_rate(g, step));
        }
    }
    return out;
}

}  // namespace strata::optim
