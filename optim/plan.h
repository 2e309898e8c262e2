// The plan: what every group's rate, decay and freezing will be at every step, fixed before the first one.
//
// A pure function of (manifest, policy, optimizer, stages, schedule, world size): the same value drives `strata plan`,
// training and resume. lr(group, step) = learning rate(stage) x multiplier(group, stage) x factor(stage, step).
// Units: elements, steps (updates, 0-based), bytes. All errors are UserErrors.
#pragma once

#include "optim/compute_type.h"
#include "optim/manifest.h"
#include "optim/optimizer.h"
#include "optim/policy.h"
#include "optim/schedule.h"
#include "optim/shard.h"
#include "optim/stage.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace strata::optim {

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
    double multiplier = 1.0;        // the policy's; 0 keeps the group frozen in every stage
    std::vector<Segment> segments;  // back to back, in registration order
    std::int64_t elements = 0;
    OptimizerOverrides overrides = {};
};

struct PlanConfig {
    PolicyConfig policy;
    OptimizerConfig optimizer;
    ScheduleConfig schedule;  // of the whole run; of each stage that has none of its own
    double learning_rate = 5e-5;
    std::int64_t total_steps = 1;
    std::int64_t steps_per_epoch = 0;                        // 0: not known, so no stage may be as long as some epochs
    std::vector<StageConfig> stages = {};                    // none: one stage, "train"
    std::optional<GradualConfig> gradual = std::nullopt;     // instead of stages
    std::optional<FineTuneConfig> fine_tune = std::nullopt;  // instead of stages
    int world_size = 1;
    int replicas = 1;       // copies of the optimizer state among all ranks
    int zero_stage = 1;     // 1 or 2
    int micro_batches = 1;  // of each rank in a step
    bool deterministic = false;
    ComputeType compute = ComputeType::fp32;
    std::optional<std::uint64_t> rounding_seed = std::nullopt;  // stochastic rounding's, for bf16; none: masters
};

/// What changes for a group before the update of `step`, the first of a stage.
struct Transition {
    enum class Kind {
        thaw,    // gradients and state are allocated, unless the state was kept
        freeze,  // gradients are freed, and the state unless it is kept
        reset    // a group that goes on training starts anew: moments and step count 0
    };
    std::int64_t step = 0;
    std::size_t group = 0;
    Kind kind = Kind::thaw;
    bool keeps_state = false;  // thaw: goes on with the moments and step count it had; freeze: they stay, for a thaw
};

struct Plan {
    PolicyKind policy = PolicyKind::single;
    std::vector<Group> groups;  // input side first
    std::vector<Stage> stages;  // in order, without gaps
    OptimizerConfig optimizer;
    std::int64_t total_steps = 0;
    int world_size = 1;

    /// Copies of the optimizer state that the ranks hold among them: 1, or one a host. The owners() ranks of a copy
    /// have a slice of it each, and ranks of different copies with the same slice make the same update.
    int replicas = 1;

    /// Stage 1: a step's gradients add up on each rank in full and are reduced once. Stage 2: they are reduced after
    /// every micro-batch, and each rank keeps the sums of its own slices alone.
    int zero_stage = 1;
    int micro_batches = 1;  // of each rank in a step

    /// Every sum over ranks, tensors or micro-batches in one order, so that any number of ranks gives the same bits;
    /// slices are whole tiles (optim/shard.h). Needs stage 2.
    bool deterministic = false;

    /// What the network computes in. Not fp32: parameters are of this type.
    ComputeType compute = ComputeType::fp32;

    /// Where it is set, updates round bf16 parameters stochastically, by the numbers of this seed
    /// (stochastic_rounding.h).
    std::optional<std::uint64_t> rounding_seed = std::nullopt;

    /// Whether each rank has fp32 masters of its own slices, frozen groups' too: in 16 bits without stochastic
    /// rounding.
    bool keeps_masters() const;

    /// The type that gradients add up in on each rank and leave in: under stage 1 fp32 where several micro-batches add
    /// up, since 16 bits would lose most of the later ones; else the network's. Sums over ranks are made in fp32;
    /// under stage 2 they stay so.
    ComputeType gradient_type() const;

    /// Where the own slices' sums lie in fp32 apart from the gradients: under stage 2, and where 16-bit gradients are
    /// added up within each copy of the state and then over the copies, with no rounding between.
    bool keeps_sums() const;

    /// Ranks that share one copy of the optimizer state.
    int owners() const { return world_size / replicas; }

    /// Elements that a slice's length is a multiple of, and how a group is shared out among a copy's owners.
    std::int64_t slice_alignment() const;
    std::int64_t slice_stride(std::size_t group) const;
    std::int64_t padded_elements(std::size_t group) const;
    Slice slice(std::size_t group, int owner) const;

    /// `step` in [0, total_steps).
    const Stage& stage_at(std::int64_t step) const;
    bool trainable(std::size_t group, std::int64_t step) const;

    /// The rate that the update of this step applies to the group; 0 while the group is frozen.
    double learning_rate(std::size_t group, std::int64_t step) const;

    /// The optimizer as one group has it: its overrides applied.
    OptimizerConfig optimizer_of(std::size_t group) const;

    /// Weight decay of a segment's elements: its group's, or 0.
    double weight_decay(std::size_t group, const Segment& segment) const;

    /// Every thaw, freeze and reset, by step and then group; the thaws of step 0 are those that train from the start.
    std::vector<Transition> transitions() const;

    /// True while a rank holds optimizer state for its slice of the group: it trains, or its state is kept for later.
    bool holds_state(std::size_t group, std::int64_t step) const;

    std::int64_t elements() const;

    /// Hash of everything that changes an update or who makes it, world size and sharding included; equal on all
    /// platforms. What ranks compare before their first collective.
    std::uint64_t hash() const;

    /// The same without world size and sharding: what a resume compares, since any number of ranks may go on.
    std::uint64_t update_hash() const;
};

/// A group whose multiplier is 0 is in the plan, frozen. Throws UserError for every configuration that makes no sense.
Plan make_plan(const Manifest& manifest, const PlanConfig& config);

/// Stage 2 keeps at most this many bytes of gradients that are on their way to their owners, or one group's.
inline constexpr std::int64_t gradient_scratch_bytes = std::int64_t{64} << 20;

/// Bytes on one rank at one step: every group's parameters and every live group's gradients, both with their padding,
/// and the optimizer state of the rank's own slices of the groups that hold some; masters, where the plan keeps them,
/// are state of all groups. Under stage 2 gradients are the own slices' sums in fp32, and what is on its way comes on
/// top; under stage 1 such sums come on top where the plan keeps them. `owner` counts the ranks of one copy of the
/// state.
struct RankMemory {
    std::int64_t parameter_bytes = 0;
    std::int64_t gradient_bytes = 0;
    std::int64_t state_bytes = 0;
    std::int64_t scratch_bytes = 0;  // at most

    std::int64_t sum() const { return parameter_bytes + gradient_bytes + state_bytes + scratch_bytes; }
};
RankMemory memory_per_rank(const Plan& plan, int owner, std::int64_t step);

/// Bytes that each rank sends for one update, by the ring formulas of dist/communicator.h: live groups' gradients, S
/// bytes with padding, are reduced to their L owners for S(L-1)/L, once or, under stage 2, after every micro-batch;
/// their updated parameters are gathered for S(L-1)/L. With R copies of the state each owner's sums, S/L bytes in fp32,
/// are added to those of the other copies once, for 2(S/L)(R-1)/R. Norms and the loss come on top: 8 bytes a group, or
/// a tile.
struct StepTraffic {
    std::int64_t reduce_bytes = 0;
    std::int64_t gather_bytes = 0;
    std::int64_t across_bytes = 0;  // between the copies

    std::int64_t sum() const { return reduce_bytes + gather_bytes + across_bytes; }
};
StepTraffic traffic_per_step(const Plan& plan, std::int64_t step);

}  // namespace strata::optim
