#include "core/error.h"
#include "core/nearest.h"
#include "optim/name_components.h"
#include "optim/plan_output.h"
#include "optim/text_table.h"

#include <fmt/format.h>

namespace strata::optim {

namespace {

/// "stage 'warm', steps 0 to 99: starts at ..."; a run without stages needs no name for its one.
std::string rate_sentence(const Plan& plan, std::size_t g, std::size_t s, const RateRange& rates) {
    const Stage& stage = plan.stages[s];
    std::string out;
    if (plan.stages.size() > 1) {
        out = fmt::format("stage '{}', steps {} to {}: ", stage.name, stage.first_step, stage.end_step - 1);
    }
    if (!stage.trainable[g]) {
        return out + fmt::format("none: the group is frozen (multiplier {:.12g})", plan.groups[g].multiplier);
    }
    return out + fmt::format("starts at {:.6g}, peaks at {:.6g}, ends at {:.6g} (multiplier {:.12g})", rates.start,
                             rates.peak, rates.end, stage.multipliers[g]);
}

std::string explain_segment(const Plan& plan, std::size_t g, const Segment& segment) {
    const Group& group = plan.groups[g];
    std::string out =
        fmt::format("{}  {}, {} elements\n", segment.name, shape_text(segment.shape), grouped_digits(segment.elements));
    out += fmt::format("  group          {} (policy {}; {} of {} from the input)\n", group.name,
                       policy_name(plan.policy), g + 1, plan.groups.size());
    const auto ranges = rate_ranges(plan);
    for (std::size_t s = 0; s < plan.stages.size(); ++s) {
        out += "  learning rate  " + rate_sentence(plan, g, s, ranges[s][g]) + "\n";
    }
    out += fmt::format("  weight decay   {}: {}\n", plan.weight_decay(g, segment), segment.decay_reason);
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
