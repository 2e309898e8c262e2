#include "optim/name_components.h"
#include "optim/plan_output.h"
#include "optim/text_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace strata::optim {

namespace {

using Ranges = std::vector<std::vector<RateRange>>;

std::string_view plural(std::size_t count) {
    return count == 1 ? "" : "s";
}

std::string_view optimizer_title(OptimizerKind kind) {
    switch (kind) {
        case OptimizerKind::adamw:
            return "AdamW";
        case OptimizerKind::adam:
            return "Adam";
        case OptimizerKind::sgd:
            return "SGD";
        case OptimizerKind::lamb:
            break;
    }
    return "LAMB";
}

std::string optimizer_text(const OptimizerConfig& optimizer) {
    if (optimizer.kind != OptimizerKind::sgd) {
        return fmt::format("Optimizer: {}, beta1 {}, beta2 {}, epsilon {}, weight decay {}\n",
                           optimizer_title(optimizer.kind), optimizer.beta1, optimizer.beta2, optimizer.epsilon,
                           optimizer.weight_decay);
    }
    return fmt::format("Optimizer: SGD, momentum {}{}, weight decay {}\n", optimizer.momentum,
                       optimizer.nesterov ? " (Nesterov)" : "", optimizer.weight_decay);
}

std::string stage_text(const Stage& stage) {
    const std::string warmup = has_warmup(stage.schedule.kind)
                                   ? fmt::format(", warm-up {} steps", stage.schedule.warmup_steps)
                                   : std::string();
    return fmt::format("Stage {}: steps {} to {}, learning rate {}, {}{}", stage.name, stage.first_step,
                       stage.end_step - 1, stage.learning_rate, schedule_name(stage.schedule.kind), warmup);
}

std::string precision_text(const Plan& plan) {
    if (plan.compute == ComputeType::fp32) return {};
    return fmt::format(", {} {}", name_of(plan.compute),
                       plan.keeps_masters() ? "with fp32 masters" : "rounded stochastically");
}

std::string heading(const Plan& plan) {
    std::string out = fmt::format("Plan: policy {}, {} group{}, {} rank{}, ZeRO stage {}{}{}{}\n",
                                  policy_name(plan.policy), plan.groups.size(), plural(plan.groups.size()),
                                  plan.world_size, plural(static_cast<std::size_t>(plan.world_size)), plan.zero_stage,
                                  plan.replicas > 1 ? fmt::format(" in each of {} hosts", plan.replicas) : "",
                                  plan.deterministic ? ", deterministic" : "", precision_text(plan));
    out += optimizer_text(plan.optimizer);
    if (plan.stages.size() == 1) return out + stage_text(plan.stages.front()) + "\n";
    return out + fmt::format("{} stages, {} steps\n", plan.stages.size(), grouped_digits(plan.total_steps));
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
std::string decay_text(const Plan& plan, std::size_t g) {
    const Group& group = plan.groups[g];
    const double decay = plan.optimizer_of(g).weight_decay;
    const auto decaying = std::count_if(group.segments.begin(), group.segments.end(),
                                        [](const Segment& segment) { return segment.decays; });
    const bool live =
        std::any_of(plan.stages.begin(), plan.stages.end(), [g](const Stage& stage) { return stage.trainable.at(g); });
    if (!live || decay == 0.0 || decaying == 0) return "none";
    return fmt::format("{} on {} of {}", decay, decaying, group.segments.size());
}

/// What rules give single groups beyond their decay, a line each.
std::string override_lines(const Plan& plan) {
    std::string out;
    for (const Group& group : plan.groups) {
        const OptimizerOverrides& own = group.overrides;
        std::vector<std::string> parts;
        if (own.beta1) parts.push_back(fmt::format("beta1 {}", *own.beta1));
        if (own.beta2) parts.push_back(fmt::format("beta2 {}", *own.beta2));
        if (own.epsilon) parts.push_back(fmt::format("epsilon {}", *own.epsilon));
        if (!parts.empty()) out += fmt::format("Group {} has its own {}\n", group.name, join(parts, ", "));
    }
    return out;
}

/// One line a group. A plan of one stage has its rates here; one of several, in a table for each.
std::string group_table(const Plan& plan, const Ranges& ranges) {
    const bool rates_here = plan.stages.size() == 1;
    std::vector<TextTable::Column> columns{
        {"group", Align::left}, {"parameters", Align::right}, {"elements", Align::right}, {"multiplier", Align::right}};
    if (rates_here) {
        for (const char* name : {"lr start", "lr peak", "lr end"}) columns.push_back({name, Align::right});
    }
    columns.push_back({"weight decay", Align::right});
    columns.push_back({rates_here ? "trainable" : "trains at steps", Align::left});
    TextTable table(std::move(columns));
    std::size_t parameters = 0;
    std::int64_t trainable = 0;
    for (std::size_t g = 0; g < plan.groups.size(); ++g) {
        const Group& group = plan.groups[g];
        std::vector<std::string> row{group.name, grouped_digits(static_cast<std::int64_t>(group.segments.size())),
                                     grouped_digits(group.elements), multiplier_text(group.multiplier)};
        const std::string trains = trains_text(plan, g);
        if (rates_here) {
            const RateRange& rates = ranges[0][g];
            for (const double rate : {rates.start, rates.peak, rates.end}) row.push_back(rate_text(rate));
        }
        row.push_back(decay_text(plan, g));
        row.push_back(!rates_here ? trains : trains == "never" ? "frozen" : "yes");
        table.add_row(std::move(row));
        parameters += group.segments.size();
        if (trains != "never") trainable += group.elements;
    }
    table.add_rule();
    table.add_row({"total", grouped_digits(static_cast<std::int64_t>(parameters)), grouped_digits(plan.elements())});
    if (trainable != plan.elements()) table.add_row({"trainable", "", grouped_digits(trainable)});
    return table.text();
}

/// The change that a group goes through where the stage begins.
std::string transition_text(const Transition& transition) {
    switch (transition.kind) {
        case Transition::Kind::thaw:
            return transition.keeps_state ? "thaws, goes on with its state" : "thaws";
        case Transition::Kind::reset:
            return "starts anew";
        case Transition::Kind::freeze:
            break;
    }
    return {};
}

/// "frozen: embeddings to layer_9 (11 groups)", by runs in the plan's order.
std::string frozen_line(const Plan& plan, const Stage& stage) {
    std::vector<std::string> runs;
    std::size_t count = 0;
    for (std::size_t g = 0; g < plan.groups.size(); ++g) {
        if (stage.trainable[g]) continue;
        std::size_t last = g;
        while (last + 1 < plan.groups.size() && !stage.trainable[last + 1]) ++last;
        runs.push_back(last == g ? plan.groups[g].name
                                 : fmt::format("{} to {}", plan.groups[g].name, plan.groups[last].name));
        count += last - g + 1;
        g = last;
    }
    return count == 0 ? "" : fmt::format("frozen: {} ({} group{})\n", join(runs, ", "), count, plural(count));
}

std::string stage_table(const Plan& plan, std::size_t s, const Ranges& ranges,
                        const std::vector<Transition>& transitions) {
    const Stage& stage = plan.stages[s];
    TextTable table({{"group", Align::left},
                     {"multiplier", Align::right},
                     {"lr start", Align::right},
                     {"lr peak", Align::right},
                     {"lr end", Align::right},
                     {"change", Align::left}});
    for (std::size_t g = 0; g < plan.groups.size(); ++g) {
        if (!stage.trainable[g]) continue;
        const auto change = std::find_if(transitions.begin(), transitions.end(), [&](const Transition& each) {
            return each.step == stage.first_step && each.group == g;
        });
        const RateRange& rates = ranges[s][g];
        table.add_row({plan.groups[g].name, multiplier_text(stage.multipliers[g]), rate_text(rates.start),
                       rate_text(rates.peak), rate_text(rates.end),
                       change == transitions.end() ? "" : transition_text(*change)});
    }
    return fmt::format("{}, on_unfreeze {}\n\n{}{}", stage_text(stage), on_unfreeze_name(stage.on_unfreeze),
                       table.text(), frozen_line(plan, stage));
}

std::vector<std::string> cost_cells(const Plan& plan, int rank, std::int64_t step, const ModelCosts::OfStage* model,
                                    bool keeps) {
    const RankMemory memory = memory_per_rank(plan, rank, step);
    std::vector<std::string> cells{byte_text(memory.parameter_bytes),
                                   byte_text(memory.gradient_bytes + memory.scratch_bytes),
                                   byte_text(memory.state_bytes)};
    std::int64_t sum = memory.sum();
    if (model != nullptr) {
        if (keeps) cells.push_back(byte_text(model->kept_bytes));
        cells.push_back("~" + byte_text(model->activation_bytes));
        sum += model->kept_bytes + model->activation_bytes;
    }
    cells.push_back((model != nullptr ? "~" : "") + byte_text(sum));
    cells.push_back(byte_text(traffic_per_step(plan, step).sum()));
    return cells;
}

/// Neighbouring ranks that read the same share a row.
std::string cost_table(const Plan& plan, const std::optional<ModelCosts>& costs) {
    const bool keeps = costs && std::any_of(costs->stages.begin(), costs->stages.end(),
                                            [](const auto& s) { return s.kept_bytes > 0; });
    std::vector<TextTable::Column> columns{{"stage", Align::left},
                                           {plan.replicas > 1 ? "rank of a host" : "rank", Align::left},
                                           {"parameters", Align::right},
                                           {"gradients", Align::right},
                                           {"optimizer state", Align::right}};
    if (keeps) columns.push_back({"kept outputs", Align::right});
    if (costs) columns.push_back({"activations", Align::right});
    columns.push_back({"sum", Align::right});
    columns.push_back({"sent per step", Align::right});
    TextTable table(std::move(columns));
    for (std::size_t s = 0; s < plan.stages.size(); ++s) {
        const Stage& stage = plan.stages[s];
        const auto cells_of = [&](int rank) {
            return cost_cells(plan, rank, stage.first_step, costs ? &costs->stages.at(s) : nullptr, keeps);
        };
        for (int first = 0; first < plan.owners();) {
            std::vector<std::string> cells = cells_of(first);
            int last = first;
            while (last + 1 < plan.owners() && cells_of(last + 1) == cells) ++last;
            const std::string ranks = first == last ? fmt::format("{}", first) : fmt::format("{}-{}", first, last);
            cells.insert(cells.begin(), {first == 0 ? stage.name : "", ranks});
            table.add_row(std::move(cells));
            first = last + 1;
        }
    }
    return table.text();
}

std::string cost_heading(const std::optional<ModelCosts>& costs) {
    if (!costs) return "Memory of each rank, activations apart, and what it sends for each update\n\n";
    return fmt::format(
        "Memory of each rank, and what it sends for each update; activations: an estimate for {} sequences of {} "
        "tokens at once.\nThe process itself takes about {} more, and the data what it takes\n\n",
        costs->sequences, costs->length, byte_text(costs->process_bytes));
}

}  // namespace

std::string trains_text(const Plan& plan, std::size_t group) {
    std::vector<std::string> spans;
    for (std::size_t s = 0; s < plan.stages.size(); ++s) {
        if (!plan.stages[s].trainable.at(group)) continue;
        const std::int64_t first = plan.stages[s].first_step;
        while (s + 1 < plan.stages.size() && plan.stages[s + 1].trainable.at(group)) ++s;
        const std::int64_t end = plan.stages[s].end_step;
        if (first == 0 && end == plan.total_steps) return "always";
        spans.push_back(end == plan.total_steps ? fmt::format("from {}", first) : fmt::format("{}-{}", first, end - 1));
    }
    return spans.empty() ? "never" : join(spans, ", ");
}

std::string plan_table(const Plan& plan, const std::optional<ModelCosts>& costs) {
    const Ranges ranges = rate_ranges(plan);
    std::string out = fmt::format("{}\n{}{}\n", heading(plan), group_table(plan, ranges), override_lines(plan));
    if (plan.stages.size() > 1) {
        const auto transitions = plan.transitions();
        for (std::size_t s = 0; s < plan.stages.size(); ++s) {
            out += stage_table(plan, s, ranges, transitions) + "\n";
        }
    }
    return out + cost_heading(costs) + cost_table(plan, costs);
}

}  // namespace strata::optim
