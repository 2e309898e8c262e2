// The plan's hashes: XXH3 over a canonical serialisation, little-endian whatever the machine.
#include "optim/plan.h"

#include <xxhash.h>

#include <bit>

namespace strata::optim {

namespace {

class Canonical {
  public:
    void integer(std::int64_t value) {
        for (int shift = 0; shift < 64; shift += 8) {
            bytes_.push_back(static_cast<char>((static_cast<std::uint64_t>(value) >> shift) & 0xFFU));
        }
    }
    // Adding 0 makes -0 into 0: equal values must give equal bytes.
    void number(double value) { integer(std::bit_cast<std::int64_t>(value + 0.0)); }
    // The length first, so that no two lists of texts give the same bytes.
    void text(std::string_view value) {
        integer(static_cast<std::int64_t>(value.size()));
        bytes_.append(value);
    }
    std::uint64_t hash() const { return XXH3_64bits(bytes_.data(), bytes_.size()); }

  private:
    std::string bytes_;
};

void add_optional(Canonical& out, const std::optional<double>& value) {
    out.integer(value ? 1 : 0);
    if (value) out.number(*value);
}

void add_group(Canonical& out, const Group& group) {
    out.text(group.name);
    out.number(group.multiplier);
    add_optional(out, group.overrides.weight_decay);
    add_optional(out, group.overrides.beta1);
    add_optional(out, group.overrides.beta2);
    add_optional(out, group.overrides.epsilon);
    out.integer(static_cast<std::int64_t>(group.segments.size()));
    for (const Segment& segment : group.segments) {
        out.text(segment.name);
        out.integer(static_cast<std::int64_t>(segment.shape.size()));
        for (const std::int64_t extent : segment.shape) out.integer(extent);
        out.integer(segment.decays ? 1 : 0);
    }
}

void add_stage(Canonical& out, const Stage& stage) {
    out.text(stage.name);
    out.integer(stage.first_step);
    out.integer(stage.end_step);
    out.number(stage.learning_rate);
    out.text(schedule_name(stage.schedule.kind));
    out.integer(stage.schedule.warmup_steps);
    out.integer(stage.schedule.total_steps);
    for (const ScheduleOption& option : schedule_options()) {
        if (!option.defaults[static_cast<std::size_t>(stage.schedule.kind)]) continue;
        out.text(option.name);
        out.number(option_value(stage.schedule, option.value));
    }
    out.integer(static_cast<std::int64_t>(stage.trainable.size()));
    for (const bool trainable : stage.trainable) out.integer(trainable ? 1 : 0);
    for (const double multiplier : stage.multipliers) out.number(multiplier);
    out.text(on_unfreeze_name(stage.on_unfreeze));
}

void add_optimizer(Canonical& out, const OptimizerConfig& optimizer) {
    out.text(optimizer_name(optimizer.kind));
    out.number(optimizer.weight_decay);
    if (optimizer.kind != OptimizerKind::sgd) {
        out.number(optimizer.beta1);
        out.number(optimizer.beta2);
        out.number(optimizer.epsilon);
    } else {
        out.number(optimizer.momentum);
        out.integer(optimizer.nesterov ? 1 : 0);
    }
}

Canonical serialise_update(const Plan& plan) {
    Canonical out;
    out.text("strata plan 2");
    out.integer(static_cast<std::int64_t>(plan.groups.size()));
    for (const Group& group : plan.groups) add_group(out, group);
    out.integer(static_cast<std::int64_t>(plan.stages.size()));
    for (const Stage& stage : plan.stages) add_stage(out, stage);
    add_optimizer(out, plan.optimizer);
    out.integer(plan.total_steps);
    // Not where it is fp32, nor where masters are kept: plans that know of nothing else keep their hashes.
    if (plan.compute != ComputeType::fp32) out.text(name_of(plan.compute));
    if (plan.rounding_seed) {
        out.text("stochastic rounding");
        out.integer(static_cast<std::int64_t>(*plan.rounding_seed));
    }
    return out;
}

}  // namespace

std::uint64_t Plan::update_hash() const {
    return serialise_update(*this).hash();
}

std::uint64_t Plan::hash() const {
    Canonical out = serialise_update(*this);
    out.integer(world_size);
    out.integer(replicas);
    out.integer(zero_stage);
    out.integer(micro_batches);
    out.integer(deterministic ? 1 : 0);
    return out.hash();
}

}  // namespace strata::optim
