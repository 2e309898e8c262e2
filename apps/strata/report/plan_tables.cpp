// The plan of a run, from its plan.json (optim::plan_json).
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "apps/strata/report/numbers.h"
#include "apps/strata/report/table.h"
#include "apps/strata/report/tables.h"
#include "apps/strata/run_directory.h"
#include "core/error.h"
#include "optim/text_table.h"

namespace strata::app::report {
namespace {

using nlohmann::json;
using optim::svg::escaped;

std::string digits(const json& number) {
    return optim::grouped_digits(number.get<std::int64_t>());
}

/// "always", "never", "from update 9", "update 1 to 8, from 17".
std::string trains(const json& plan, std::size_t group) {
    std::string out;
    const json& stages = plan.at("stages");
    for (std::size_t s = 0; s < stages.size(); ++s) {
        if (!stages[s].at("groups").at(group).at("trainable").get<bool>()) continue;
        const auto first = stages[s].at("first_step").get<std::int64_t>();
        while (s + 1 < stages.size() && stages[s + 1].at("groups").at(group).at("trainable").get<bool>()) ++s;
        const bool to_end = s + 1 == stages.size();
        if (first == 0 && to_end) return "always";
        out += out.empty() ? "" : ", ";
        out += to_end ? fmt::format("from {}", optim::grouped_digits(first + 1))
                      : fmt::format("{} to {}", optim::grouped_digits(first + 1), digits(stages[s].at("end_step")));
    }
    return out.empty() ? "never" : out;
}

/// "0.01 on 3 of 5": how many of its tensors decay.
std::string decay(const json& group) {
    const json& segments = group.at("segments");
    const auto decaying = std::count_if(segments.begin(), segments.end(),
                                        [](const json& segment) { return segment.at("decays").get<bool>(); });
    const double value = group.at("weight_decay");
    if (value == 0.0 || decaying == 0) return "none";
    return fmt::format("{} on {} of {}", number_text(value), decaying, segments.size());
}

std::string rate_cell(const json& group) {
    if (!group.at("trainable").get<bool>()) return "<span class=\"frozen\">frozen</span>";
    const json& rate = group.at("learning_rate");
    return fmt::format("{} <span class=\"to\">→</span> <b>{}</b> <span class=\"to\">→</span> {}",
                       tick_text(rate.at("start")), number_text(rate.at("peak")), number_text(rate.at("end")));
}

std::string group_table(const json& plan) {
    std::vector<Table::Column> columns{{"Group"},
                                       {"Tensors", true},
                                       {"Elements", true},
                                       {"Multiplier", true},
                                       {"Weight decay", true},
                                       {"Learns at updates", true}};
    const json& stages = plan.at("stages");
    for (const json& stage : stages) {
        columns.push_back({stages.size() == 1 ? "Rate: start, peak, end" : stage.at("name").get<std::string>(), true});
    }
    Table table("Groups of the plan", std::move(columns));
    const json& groups = plan.at("groups");
    for (std::size_t g = 0; g < groups.size(); ++g) {
        const json& group = groups[g];
        std::vector<std::string> cells{with_ink(group.at("name"), group_ink(g, groups.size())),
                                       digits(group.at("parameters").size()),
                                       digits(group.at("elements")),
                                       number_text(group.at("multiplier")),
                                       decay(group),
                                       trains(plan, g)};
        for (const json& stage : stages) cells.push_back(rate_cell(stage.at("groups").at(g)));
        table.add_row(cells);
    }
    return table.html();
}

/// A figure with a bar of its share of the largest.
std::string bar_cell(double value, double largest) {
    return fmt::format("<span class=\"bar\" style=\"--share:{:.4f}\">{}</span>", largest > 0 ? value / largest : 0.0,
                       optim::byte_text(std::llround(value)));
}

struct Cost {
    double state = 0;  ///< bytes of optimizer state, of the rank that holds most
    double gradients = 0;
    double sent = 0;  ///< bytes an update, each rank
};

Cost cost_of(const json& stage) {
    Cost cost;
    for (const json& rank : stage.at("memory")) {
        cost.state = std::max(cost.state, rank.at("state_bytes").get<double>());
        cost.gradients = std::max(cost.gradients, rank.at("gradient_bytes").get<double>());
    }
    const json& traffic = stage.at("traffic");
    cost.sent = traffic.at("reduce_bytes").get<double>() + traffic.at("gather_bytes").get<double>() +
                traffic.value("across_bytes", 0.0);
    return cost;
}

std::string stage_table(const json& plan) {
    Table table("Stages of the plan, and what they cost each rank", {{"Stage"},
                                                                     {"Updates", true},
                                                                     {"Schedule"},
                                                                     {"Learning rate", true},
                                                                     {"Groups that learn", true},
                                                                     {"Optimizer memory", true},
                                                                     {"Gradients", true},
                                                                     {"Sent per update", true}});
    Cost most;
    for (const json& stage : plan.at("stages")) {
        const Cost cost = cost_of(stage);
        most = {std::max(most.state, cost.state), std::max(most.gradients, cost.gradients),
                std::max(most.sent, cost.sent)};
    }
    for (const json& stage : plan.at("stages")) {
        const Cost cost = cost_of(stage);
        const json& groups = stage.at("groups");
        const auto learning = std::count_if(groups.begin(), groups.end(),
                                            [](const json& group) { return group.at("trainable").get<bool>(); });
        table.add_row({escaped(stage.at("name").get<std::string>()),
                       fmt::format("{} to {}", optim::grouped_digits(stage.at("first_step").get<std::int64_t>() + 1),
                                   digits(stage.at("end_step"))),
                       escaped(stage.at("schedule").get<std::string>()), number_text(stage.at("learning_rate")),
                       fmt::format("{} of {}", learning, groups.size()), bar_cell(cost.state, most.state),
                       bar_cell(cost.gradients, most.gradients), bar_cell(cost.sent, most.sent)});
    }
    return table.html();
}

std::string heading(const json& plan) {
    return fmt::format("<p>Policy {}, {}, {} elements in {} tensors. Rates of a stage: start, <b>peak</b>, end.</p>\n",
                       escaped(plan.at("policy").get<std::string>()),
                       escaped(plan.at("optimizer").at("name").get<std::string>()), digits(plan.at("elements")),
                       digits(plan.at("parameters")));
}

}  // namespace

std::string plan_tables(const RunRecord& run) {
    if (run.plan.is_null()) return {};
    try {
        return heading(run.plan) + group_table(run.plan) + "<h3>Stages and their cost to a rank</h3>\n" +
               stage_table(run.plan);
    } catch (const json::exception& error) {
        user_error("{}: is not a plan that strata wrote: {}", (run.path / plan_name).string(), error.what());
    }
}

}  // namespace strata::app::report
