// The plan: what every group's rate, decay and freezing will be at every step, fixed before the first one.
//
// A pure function of (manifest, policy, optimizer, schedule, world size): the same value drives `strata plan`,
// training and resume. lr(group, step) = learning rate x multiplier(group) x factor(schedule, step).
// Units: elements, steps (updates, 0-based), bytes. All errors are UserErrors.
#pragma once

#include "optim/manifest.h"
#include "optim/policy.h"
#include "optim/schedule.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace strata::optim {

enum class OptimizerKind { adamw, sgd };

/// "adamw", "sgd".
std::string_view optimizer_name(OptimizerKind kind);

/// Also takes transformers' "adamw_torch" and "adamw_torch_fused". Throws UserError for another name.
OptimizerKind parse_optimizer_kind(std::string_view name);

struct OptimizerConfig {
    OptimizerKind kind = OptimizerKind::adamw;
    double beta1 = 0.9;         // adamw
    double beta2 = 0.999;       // adamw
    double epsilon = 1e-8;      // adamw
    double weight_decay = 0.0;  // adamw: decoupled, times the group's rate. sgd: L2, added to the gradient
    double momentum = 0.0;      // sgd
    bool nesterov = false;      // sgd
};

/// Moments kept for each element: 2 for AdamW, 1 for SGD with momentum, 0 for SGD without.
int state_tensors(const OptimizerConfig& optimizer);

/// One parameter's place in its group.
struct Segment {
    std::string name;
    std::vector<std::int64_t> shape;
    std::int64_t offset = 0;  // elements, from the start of the group's logical content
    std::int64_t elements = 0;
    bool decays = true;
    std::string decay_reason;  // for people
};

struct Group {
    std::string name;
    double multiplier = 1.0;
    std::vector<Segment> segments;  // back to back, in registration order
    std::int64_t elements = 0;
};

/// A stretch of the run with one set of trainable groups and one schedule. Now always exactly one, "train".
struct Stage {
    std::string name;
    std::int64_t first_step = 0;
    std::int64_t end_step = 0;  // one past its last step
    double learning_rate = 0.0;
    Schedule schedule;            // in steps since first_step
    std::vector<bool> trainable;  // one for each group
};

struct PlanConfig {
    PolicyConfig policy;
    OptimizerConfig optimizer;
    ScheduleKind schedule = ScheduleKind::linear;
    std::int64_t warmup_steps = 0;
    double learning_rate = 5e-5;
    std::int64_t total_steps = 1;
    int world_size = 1;
    int zero_stage = 1;
};

struct Plan {
    PolicyKind policy = PolicyKind::single;
    std::vector<Group> groups;  // input side first
    std::vector<Stage> stages;  // in order, without gaps
    OptimizerConfig optimizer;
    std::int64_t total_steps = 0;
    int world_size = 1;
    int zero_stage = 1;

    /// `step` in [0, total_steps).
    const Stage& stage_at(std::int64_t step) const;
    bool trainable(std::size_t group, std::int64_t step) const;

    /// The rate that the update of this step applies to the group; 0 while the group is frozen.
    double learning_rate(std::size_t group, std::int64_t step) const;

    /// Weight decay of a segment's elements: the optimizer's, or 0.
    double weight_decay(const Segment& segment) const;

    std::int64_t elements() const;

    /// Hash of everything that changes an update or who makes it, world size and ZeRO stage included; equal on all
    /// platforms. What ranks compare before their first collective.
    std::uint64_t hash() const;

    /// The same without world size and ZeRO stage: what a resume compares, since any number of ranks may go on.
    std::uint64_t update_hash() const;
};

/// A group whose multiplier is 0 is in the plan, frozen. Throws UserError for every configuration that makes no sense.
Plan make_plan(const Manifest& manifest, const PlanConfig& config);

/// fp32 bytes on one rank at one step: every group's parameters and every live group's gradients, both with their
/// padding, and the optimizer state of the rank's own slices of live groups.
struct RankMemory {
    std::int64_t parameter_bytes = 0;
    std::int64_t gradient_bytes = 0;
    std::int64_t state_bytes = 0;
};
RankMemory memory_per_rank(const Plan& plan, int rank, std::int64_t step);

}  // namespace strata::optim
