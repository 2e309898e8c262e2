#include "optim/plan_output.h"

#include <fmt/format.h>

namespace strata::optim {

namespace {

using nlohmann::json;

json rates_json(const RateRange& rates) {
    return {{"start", rates.start}, {"peak", rates.peak}, {"end", rates.end}};
}

json overrides_json(const OptimizerOverrides& own) {
    json out = json::object();
    if (own.weight_decay) out["weight_decay"] = *own.weight_decay;
    if (own.beta1) out["beta1"] = *own.beta1;
    if (own.beta2) out["beta2"] = *own.beta2;
    if (own.epsilon) out["epsilon"] = *own.epsilon;
    return out;
}

json group_json(const Plan& plan, std::size_t g, const RateRange& rates) {
    const Group& group = plan.groups[g];
    json names = json::array();
    json segments = json::array();
    for (const Segment& segment : group.segments) {
        names.push_back(segment.name);
        segments.push_back({{"name", segment.name},
                            {"shape", segment.shape},
                            {"offset", segment.offset},
                            {"elements", segment.elements},
                            {"decays", segment.decays},
                            {"weight_decay", plan.weight_decay(g, segment)},
                            {"reason", segment.decay_reason}});
    }
    return {{"name", group.name},
            {"parameters", std::move(names)},
            {"elements", group.elements},
            {"multiplier", group.multiplier},
            {"trainable", plan.trainable(g, 0)},
            {"learning_rate", rates_json(rates)},
            {"weight_decay", plan.optimizer_of(g).weight_decay},
            {"overrides", overrides_json(group.overrides)},
            {"segments", std::move(segments)}};
}

json memory_json(const RankMemory& memory, int rank) {
    return {{"rank", rank},
            {"parameter_bytes", memory.parameter_bytes},
            {"gradient_bytes", memory.gradient_bytes + memory.scratch_bytes},
            {"state_bytes", memory.state_bytes}};
}

/// The figures in force, by the names people set them by.
json schedule_options_json(const Schedule& schedule) {
    json out = json::object();
    for (const ScheduleOption& option : schedule_options()) {
        if (!option.defaults[static_cast<std::size_t>(schedule.kind)]) continue;
        const double value = option_value(schedule, option.value);
        if (option.type == ScheduleOption::Type::flag) {
            out[option.name] = value != 0.0;
        } else {
            out[option.name] = value;
        }
    }
    return out;
}

json stage_json(const Plan& plan, const Stage& stage, const std::vector<RateRange>& rates) {
    json groups = json::array();
    for (std::size_t g = 0; g < plan.groups.size(); ++g) {
        groups.push_back({{"name", plan.groups[g].name},
                          {"trainable", static_cast<bool>(stage.trainable[g])},
                          {"multiplier", stage.multipliers[g]},
                          {"learning_rate", rates_json(rates[g])}});
    }
    json memory = json::array();
    for (int rank = 0; rank < plan.world_size; ++rank) {
        memory.push_back(memory_json(memory_per_rank(plan, rank % plan.owners(), stage.first_step), rank));
    }
    const StepTraffic traffic = traffic_per_step(plan, stage.first_step);
    return {{"name", stage.name},
            {"first_step", stage.first_step},
            {"end_step", stage.end_step},
            {"learning_rate", stage.learning_rate},
            {"schedule", schedule_name(stage.schedule.kind)},
            {"warmup_steps", stage.schedule.warmup_steps},
            {"schedule_options", schedule_options_json(stage.schedule)},
            {"on_unfreeze", on_unfreeze_name(stage.on_unfreeze)},
            {"groups", std::move(groups)},
            {"memory", std::move(memory)},
            {"traffic",
             {{"reduce_bytes", traffic.reduce_bytes},
              {"gather_bytes", traffic.gather_bytes},
              {"across_bytes", traffic.across_bytes}}}};
}

std::string_view kind_name(Transition::Kind kind) {
    switch (kind) {
        case Transition::Kind::thaw:
            return "thaw";
        case Transition::Kind::freeze:
            return "freeze";
        case Transition::Kind::reset:
            break;
    }
    return "reset";
}

json transitions_json(const Plan& plan) {
    json out = json::array();
    for (const Transition& transition : plan.transitions()) {
        out.push_back({{"step", transition.step},
                       {"stage", plan.stage_at(transition.step).name},
                       {"group", plan.groups[transition.group].name},
                       {"kind", kind_name(transition.kind)},
                       {"keeps_state", transition.keeps_state}});
    }
    return out;
}

json optimizer_json(const OptimizerConfig& optimizer) {
    json out{{"name", optimizer_name(optimizer.kind)}, {"weight_decay", optimizer.weight_decay}};
    if (optimizer.kind != OptimizerKind::sgd) {
        out["beta1"] = optimizer.beta1;
        out["beta2"] = optimizer.beta2;
        out["epsilon"] = optimizer.epsilon;
    } else {
        out["momentum"] = optimizer.momentum;
        out["nesterov"] = optimizer.nesterov;
    }
    return out;
}

/// Each rank's memory in the stage that takes most of it.
json peak_memory_json(const Plan& plan) {
    json ranks = json::array();
    for (int rank = 0; rank < plan.world_size; ++rank) {
        RankMemory peak;
        for (const Stage& stage : plan.stages) {
            const RankMemory memory = memory_per_rank(plan, rank % plan.owners(), stage.first_step);
            if (memory.sum() > peak.sum()) peak = memory;
        }
        ranks.push_back(memory_json(peak, rank));
    }
    return ranks;
}

}  // namespace

nlohmann::json plan_json(const Plan& plan, const std::optional<ModelCosts>& costs) {
    const auto ranges = rate_ranges(plan);
    json groups = json::array();
    std::size_t parameters = 0;
    std::int64_t trainable = 0;
    for (std::size_t g = 0; g < plan.groups.size(); ++g) {
        groups.push_back(group_json(plan, g, whole_run(ranges, g)));
        parameters += plan.groups[g].segments.size();
        if (plan.trainable(g, 0)) trainable += plan.groups[g].elements;
    }
    json stages = json::array();
    for (std::size_t s = 0; s < plan.stages.size(); ++s) {
        stages.push_back(stage_json(plan, plan.stages[s], ranges[s]));
        if (!costs) continue;
        const ModelCosts::OfStage& own = costs->stages.at(s);
        stages.back()["kept_output_bytes"] = own.kept_bytes;
        stages.back()["activations"] = {
            {"estimated_bytes", own.activation_bytes}, {"sequences", costs->sequences}, {"length", costs->length}};
        stages.back()["process_bytes"] = costs->process_bytes;
    }
    return {{"policy", policy_name(plan.policy)},
            {"optimizer", optimizer_json(plan.optimizer)},
            {"stages", std::move(stages)},
            {"groups", std::move(groups)},
            {"parameters", parameters},
            {"elements", plan.elements()},
            {"trainable_elements", trainable},
            {"total_steps", plan.total_steps},
            {"world_size", plan.world_size},
            {"replicas", plan.replicas},
            {"zero_stage", plan.zero_stage},
            {"compute_type", name_of(plan.compute)},
            {"stochastic_rounding", plan.rounding_seed.has_value()},
            {"transitions", transitions_json(plan)},
            {"memory", peak_memory_json(plan)},
            {"hash", fmt::format("{:016x}", plan.hash())},
            {"update_hash", fmt::format("{:016x}", plan.update_hash())}};
}

}  // namespace strata::optim
