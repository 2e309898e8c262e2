#include "core/error.h"
#include "optim/plan_output.h"
#include "optim/text_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace strata::optim {

namespace {

std::string heading(const Plan& plan) {
    const OptimizerConfig& optimizer = plan.optimizer;
    std::string out = fmt::format("Plan: policy {}, {} group{}, {} rank{}, ZeRO stage {}\n", policy_name(plan.policy),
                                  plan.groups.size(), plan.groups.size() == 1 ? "" : "s", plan.world_size,
                                  plan.world_size == 1 ? "" : "s", plan.zero_stage);
    if (optimizer.kind == OptimizerKind::adamw) {
        out += fmt::format("Optimizer: AdamW, beta1 {}, beta2 {}, epsilon {}, weight decay {}\n", optimizer.beta1,
                           optimizer.beta2, optimizer.epsilon, optimizer.weight_decay);
    } else {
        out += fmt::format("Optimizer: SGD, momentum {}{}, weight decay {}\n", optimizer.momentum,
                           optimizer.nesterov ? " (Nesterov)" : "", optimizer.weight_decay);
    }
    for (const Stage& stage : plan.stages) {
        out += fmt::format("Stage {}: steps {} to {}, learning rate {}, {}, warm-up {} steps\n", stage.name,
                           stage.first_step, stage.end_step - 1, stage.learning_rate,
                           schedule_name(stage.schedule.kind), stage.schedule.warmup_steps);
    }
    return out;
}

std::string rate_text(double rate) {
    return rate == 0.0 ? "0" : fmt::format("{:.3e}", rate);
}

/// Six places line up best; factors too small for them are written with an exponent.
std::string multiplier_text(double multiplier) {
    return multiplier == 0.0 || multiplier >= 1e-3 ? fmt::format("{:.6f}", multiplier)
                                                   : fmt::format("{:.3e}", multiplier);
}

/// "0.01 on 3 of 5": how many of the group's tensors decay.
std::string decay_text(const Plan& plan, const Group& group, bool live) {
    const auto decaying = std::count_if(group.segments.begin(), group.segments.end(),
                                        [](const Segment& segment) { return segment.decays; });
    if (!live || plan.optimizer.weight_decay == 0.0 || decaying == 0) return "none";
    return fmt::format("{} on {} of {}", plan.optimizer.weight_decay, decaying, group.segments.size());
}

std::string group_table(const Plan& plan) {
    TextTable table({{"group", Align::left},
                     {"parameters", Align::right},
                     {"elements", Align::right},
                     {"multiplier", Align::right},
                     {"lr start", Align::right},
                     {"lr peak", Align::right},
                     {"lr end", Align::right},
                     {"weight decay", Align::right},
                     {"trainable", Align::left}});
    std::size_t parameters = 0;
    std::int64_t trainable = 0;
    for (std::size_t g = 0; g < plan.groups.size(); ++g) {
        const Group& group = plan.groups[g];
        const RateRange rates = rate_range(plan, g);
        const bool live = plan.trainable(g, 0);
        table.add_row({group.name, grouped_digits(static_cast<std::int64_t>(group.segments.size())),
                       grouped_digits(group.elements), multiplier_text(group.multiplier), rate_text(rates.start),
                       rate_text(rates.peak), rate_text(rates.end), decay_text(plan, group, live),
                       live ? "yes" : "frozen"});
        parameters += group.segments.size();
        if (live) trainable += group.elements;
    }
    table.add_rule();
    table.add_row({"total", grouped_digits(static_cast<std::int64_t>(parameters)), grouped_digits(plan.elements())});
    if (trainable != plan.elements()) table.add_row({"trainable", "", grouped_digits(trainable)});
    return table.text();
}

std::vector<std::string> memory_cells(const Plan& plan, int rank) {
    const RankMemory memory = memory_per_rank(plan, rank, 0);
    return {byte_text(memory.parameter_bytes), byte_text(memory.gradient_bytes), byte_text(memory.state_bytes),
            byte_text(memory.parameter_bytes + memory.gradient_bytes + memory.state_bytes)};
}

/// Neighbouring ranks that read the same share a row.
std::string memory_table(const Plan& plan) {
    TextTable table({{"rank", Align::left},
                     {"parameters", Align::right},
                     {"gradients", Align::right},
                     {"optimizer state", Align::right},
                     {"sum", Align::right}});
    for (int first = 0; first < plan.world_size;) {
        std::vector<std::string> cells = memory_cells(plan, first);
        int last = first;
        while (last + 1 < plan.world_size && memory_cells(plan, last + 1) == cells) ++last;
        cells.insert(cells.begin(), first == last ? fmt::format("{}", first) : fmt::format("{}-{}", first, last));
        table.add_row(std::move(cells));
        first = last + 1;
    }
    return table.text();
}

}  // namespace

RateRange rate_range(const Plan& plan, std::size_t group) {
    RateRange range{plan.learning_rate(group, 0), 0.0, plan.learning_rate(group, plan.total_steps - 1)};
    for (const Stage& stage : plan.stages) {
        if (!stage.trainable.at(group)) continue;
        double peak = 0.0;
        for (std::int64_t step = stage.first_step; step < stage.end_step; ++step) {
            peak = std::max(peak, factor(stage.schedule, step - stage.first_step));
        }
        range.peak = std::max(range.peak, stage.learning_rate * plan.groups[group].multiplier * peak);
    }
    return range;
}

std::string plan_table(const Plan& plan) {
    return fmt::format("{}\n{}\nMemory of each rank, activations apart\n\n{}", heading(plan), group_table(plan),
                       memory_table(plan));
}

}  // namespace strata::optim
