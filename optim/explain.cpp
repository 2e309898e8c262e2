#include "core/error.h"
#include "core/nearest.h"
#include "optim/name_components.h"
#include "optim/plan_output.h"
#include "optim/text_table.h"

#include <fmt/format.h>

namespace strata::optim {

namespace {

std::string explain_segment(const Plan& plan, std::size_t g, const Segment& segment) {
    const Group& group = plan.groups[g];
    const RateRange rates = rate_range(plan, g);
    std::string out =
        fmt::format("{}  {}, {} elements\n", segment.name, shape_text(segment.shape), grouped_digits(segment.elements));
    out += fmt::format("  group          {} (policy {}; {} of {} from the input)\n", group.name,
                       policy_name(plan.policy), g + 1, plan.groups.size());
    if (plan.trainable(g, 0)) {
        out += fmt::format("  learning rate  starts at {:.6g}, peaks at {:.6g}, ends at {:.6g} (multiplier {:.12g})\n",
                           rates.start, rates.peak, rates.end, group.multiplier);
    } else {
        out += fmt::format("  learning rate  none: the group is frozen (multiplier {:.12g})\n", group.multiplier);
    }
    out += fmt::format("  weight decay   {}: {}\n", plan.weight_decay(segment), segment.decay_reason);
    return out;
}

}  // namespace

std::string explain(const Plan& plan, std::string_view name) {
    std::vector<std::string> names;
    for (std::size_t g = 0; g < plan.groups.size(); ++g) {
        for (const Segment& segment : plan.groups[g].segments) {
            if (segment.name == name) return explain_segment(plan, g, segment);
            names.push_back(segment.name);
        }
    }
    user_error("No parameter is named '{}'. Nearest names: {}.", name, join(nearest_names(name, names), ", "));
}

}  // namespace strata::optim
