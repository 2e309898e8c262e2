// A plan written out: for people, for spreadsheets, for programs.
#pragma once

#include "optim/cluster.h"
#include "optim/plan.h"

#include <nlohmann/json.hpp>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace strata::optim {

/// What each stage takes on a rank that only the model and its data tell.
struct ModelCosts {
    struct OfStage {
        std::int64_t activation_bytes = 0;  // an estimate, for one full micro-batch
        std::int64_t kept_bytes = 0;        // of the outputs of a frozen backbone
    };
    std::int64_t sequences = 0;      // of a full micro-batch
    std::int64_t length = 0;         // of a sequence, in tokens
    std::int64_t process_bytes = 0;  // resident beside all that, on a CPU
    std::vector<OfStage> stages;
};

/// What `strata plan` prints: one line a group (parameters, elements, multiplier, decay, when it trains), rates at the
/// start, peak and end of each stage, memory and bytes sent per rank in each stage. Ends with a newline.
std::string plan_table(const Plan& plan, const std::optional<ModelCosts>& costs = std::nullopt);

/// Header `step,stage,group,trainable,lr`, then one row for each step and group, step by step. trainable is 1 or 0;
/// lr reads back to the same double.
std::string plan_csv(const Plan& plan);

/// {policy, optimizer, stages: [{name, first_step, end_step, learning_rate, schedule, warmup_steps, schedule_options:
/// {what is in force}, on_unfreeze, groups: [{name, trainable, multiplier, learning_rate: {start, peak, end}}],
/// memory: [bytes per rank], traffic: {reduce_bytes, gather_bytes, across_bytes}, and with `costs` kept_output_bytes
/// and activations: {estimated_bytes, sequences, length}, process_bytes}], groups: [{name, parameters: [names],
/// elements, multiplier, trainable, learning_rate: {start, peak, end}, weight_decay, overrides, segments: [{name,
/// shape, offset, elements, decays, weight_decay, reason}]}], transitions: [{step, stage, group, kind, keeps_state}],
/// elements, trainable_elements, parameters, total_steps, world_size, replicas, zero_stage, compute_type,
/// stochastic_rounding, memory: [bytes per rank], hash, update_hash}. A group's `trainable` is at the first step, its
/// learning_rate over the whole run, `overrides` what it has of its own
/// ({} for most); the plan's `memory` is that of the stage that takes most. Doubles read back exactly.
nlohmann::json plan_json(const Plan& plan, const std::optional<ModelCosts>& costs = std::nullopt);

/// What `strata plan --cluster` adds: a line for each way to share out the state.
std::string cluster_table(const Cluster& cluster, const std::vector<ClusterStep>& steps);

/// {hosts, gpus, inside, network: bytes per second, steps: [{shard: "all" or "node", zero_stage, overlap, forward,
/// backward, reduce, exposed, update, gather, step: seconds, memory_bytes, traffic}]}.
nlohmann::json cluster_json(const Cluster& cluster, const std::vector<ClusterStep>& steps);

/// A drawing of the rates over time, as a whole SVG file: a line a group from the input (cool) to the head (warm), the
/// stages shaded and named, axes, a legend. No script and nothing from outside; follows light and dark.
std::string plan_svg(const Plan& plan);

/// Where one parameter is, at which rates it learns, and which rule decided whether it decays. Throws UserError for a
/// name that is not in the plan, with the five nearest.
std::string explain(const Plan& plan, std::string_view name);

struct RateRange {
    double start = 0.0;  // at the first step
    double peak = 0.0;   // the largest
    double end = 0.0;    // at the last step
};

/// [stage][group]: the rates within each stage, 0 for a group that is frozen in it.
std::vector<std::vector<RateRange>> rate_ranges(const Plan& plan);

/// A group's rates over the whole run, from the rates within its stages.
RateRange whole_run(const std::vector<std::vector<RateRange>>& ranges, std::size_t group);
RateRange rate_range(const Plan& plan, std::size_t group);

/// When a group trains, for people: "always", "never", "from 100", "0-99, 200-299".
std::string trains_text(const Plan& plan, std::size_t group);

}  // namespace strata::optim
