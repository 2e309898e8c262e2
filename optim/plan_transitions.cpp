// Which groups thaw, freeze and start anew between stages, and what of their state outlives a freeze.
#include "optim/plan.h"

#include <algorithm>

namespace strata::optim {

namespace {

/// The first stage from `from` on that trains the group; the number of stages when there is none.
std::size_t next_live(const Plan& plan, std::size_t group, std::size_t from) {
    while (from < plan.stages.size() && !plan.stages[from].trainable.at(group)) ++from;
    return from;
}

/// Whether the group, frozen in the stages [frozen, thaw), goes on in `thaw` with the state it had before.
bool state_survives(const Plan& plan, std::size_t group, std::size_t frozen, std::size_t thaw) {
    if (thaw == plan.stages.size() || plan.stages[thaw].on_unfreeze != OnUnfreeze::keep) return false;
    if (next_live(plan, group, 0) >= frozen) return false;  // it never trained
    return std::none_of(plan.stages.begin() + static_cast<std::ptrdiff_t>(frozen),
                        plan.stages.begin() + static_cast<std::ptrdiff_t>(thaw),
                        [](const Stage& stage) { return stage.on_unfreeze == OnUnfreeze::reset_all; });
}

/// The first of the stages up to `stage` since which the group has been frozen.
std::size_t frozen_since(const Plan& plan, std::size_t group, std::size_t stage) {
    while (stage > 0 && !plan.stages[stage - 1].trainable.at(group)) --stage;
    return stage;
}

}  // namespace

std::vector<Transition> Plan::transitions() const {
    using Kind = Transition::Kind;
    std::vector<Transition> out;
    for (std::size_t s = 0; s < stages.size(); ++s) {
        for (std::size_t g = 0; g < groups.size(); ++g) {
            const bool was = s > 0 && stages[s - 1].trainable.at(g);
            const bool is = stages[s].trainable.at(g);
            const std::int64_t step = stages[s].first_step;
            if (!was && is) {
                out.push_back({step, g, Kind::thaw, state_survives(*this, g, frozen_since(*this, g, s), s)});
            } else if (was && !is) {
                out.push_back({step, g, Kind::freeze, state_survives(*this, g, s, next_live(*this, g, s))});
            } else if (was && is && stages[s].on_unfreeze == OnUnfreeze::reset_all) {
                out.push_back({step, g, Kind::reset, false});
            }
        }
    }
    return out;
}

bool Plan::holds_state(std::size_t group, std::int64_t step) const {
    const auto stage = static_cast<std::size_t>(&stage_at(step) - stages.data());
    if (stages[stage].trainable.at(group)) return true;
    return state_survives(*this, group, frozen_since(*this, group, stage), next_live(*this, group, stage));
}

}  // namespace strata::optim
