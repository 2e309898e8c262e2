#include "optim/plan_output.h"

#include <fmt/format.h>

namespace strata::optim {

namespace {

using nlohmann::json;

json group_json(const Plan& plan, std::size_t g) {
    const Group& group = plan.groups[g];
    const RateRange rates = rate_range(plan, g);
    json names = json::array();
    json segments = json::array();
    for (const Segment& segment : group.segments) {
        names.push_back(segment.name);
        segments.push_back({{"name", segment.name},
                            {"shape", segment.shape},
                            {"offset", segment.offset},
                            {"elements", segment.elements},
                            {"decays", segment.decays},
                            {"weight_decay", plan.weight_decay(segment)},
                            {"reason", segment.decay_reason}});
    }
    return {{"name", group.name},
            {"parameters", std::move(names)},
            {"elements", group.elements},
            {"multiplier", group.multiplier},
            {"trainable", plan.trainable(g, 0)},
            {"learning_rate", {{"start", rates.start}, {"peak", rates.peak}, {"end", rates.end}}},
            {"weight_decay", plan.optimizer.weight_decay},
            {"segments", std::move(segments)}};
}

json stage_json(const Stage& stage) {
    return {{"name", stage.name},
            {"first_step", stage.first_step},
            {"end_step", stage.end_step},
            {"learning_rate", stage.learning_rate},
            {"schedule", schedule_name(stage.schedule.kind)},
            {"warmup_steps", stage.schedule.warmup_steps}};
}

json optimizer_json(const OptimizerConfig& optimizer) {
    json out{{"name", optimizer_name(optimizer.kind)}, {"weight_decay", optimizer.weight_decay}};
    if (optimizer.kind == OptimizerKind::adamw) {
        out["beta1"] = optimizer.beta1;
        out["beta2"] = optimizer.beta2;
        out["epsilon"] = optimizer.epsilon;
    } else {
        out["momentum"] = optimizer.momentum;
        out["nesterov"] = optimizer.nesterov;
    }
    return out;
}

json memory_json(const Plan& plan) {
    json ranks = json::array();
    for (int rank = 0; rank < plan.world_size; ++rank) {
        const RankMemory memory = memory_per_rank(plan, rank, 0);
        ranks.push_back({{"rank", rank},
                         {"parameter_bytes", memory.parameter_bytes},
                         {"gradient_bytes", memory.gradient_bytes},
                         {"state_bytes", memory.state_bytes}});
    }
    return ranks;
}

}  // namespace

nlohmann::json plan_json(const Plan& plan) {
    json groups = json::array();
    std::size_t parameters = 0;
    std::int64_t trainable = 0;
    for (std::size_t g = 0; g < plan.groups.size(); ++g) {
        groups.push_back(group_json(plan, g));
        parameters += plan.groups[g].segments.size();
        if (plan.trainable(g, 0)) trainable += plan.groups[g].elements;
    }
    json stages = json::array();
    for (const Stage& stage : plan.stages) stages.push_back(stage_json(stage));
    return {{"policy", policy_name(plan.policy)},
            {"optimizer", optimizer_json(plan.optimizer)},
            {"stages", std::move(stages)},
            {"groups", std::move(groups)},
            {"parameters", parameters},
            {"elements", plan.elements()},
            {"trainable_elements", trainable},
            {"total_steps", plan.total_steps},
            {"world_size", plan.world_size},
            {"zero_stage", plan.zero_stage},
            {"memory", memory_json(plan)},
            {"hash", fmt::format("{:016x}", plan.hash())},
            {"update_hash", fmt::format("{:016x}", plan.update_hash())}};
}

}  // namespace strata::optim
