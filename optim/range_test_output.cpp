#include "optim/range_test_output.h"

#include "core/error.h"
#include "optim/text_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace strata::optim {

namespace {

constexpr std::size_t rows_shown = 20;

std::string rate_text(double rate) {
    return fmt::format("{:.2e}", rate);
}

std::string loss_text(double loss) {
    return fmt::format("{:.4f}", loss);
}

std::string_view end_name(RangeTestEnd end) {
    switch (end) {
        case RangeTestEnd::end_lr:
            return "end_lr";
        case RangeTestEnd::diverged:
            return "diverged";
        case RangeTestEnd::not_a_number:
            break;
    }
    return "not_a_number";
}

std::string end_text(const RangeCurve& curve) {
    const std::string made = fmt::format("{} updates", curve.rates().size());
    if (curve.end() == RangeTestEnd::end_lr || curve.rates().empty()) return made + ", to the end";
    return fmt::format("{}, to {}: {}", made, rate_text(curve.rates().back()),
                       curve.end() == RangeTestEnd::diverged ? "the loss diverged" : "no number came after that");
}

/// What the tested rate means: the number to write down where a suggestion is taken up.
bool of_slice(const RangeTestReport& report) {
    if (report.plan.policy == PolicyKind::slice) return true;
    for (std::size_t g = 0; g < report.plan.groups.size(); ++g) {
        if (report.stage.multipliers[g] != report.plan.groups[g].multiplier) return true;
    }
    return false;
}

/// The rate of each group at a suggestion; 0 for those that stand still.
std::vector<std::pair<std::string, double>> group_rates(const RangeTestReport& report, const RangeTest& test,
                                                        double rate) {
    const Plan tested = range_test_plan(report.plan, report.config, report.stage.name, test.group);
    std::vector<std::pair<std::string, double>> rates;
    for (std::size_t g = 0; g < tested.groups.size(); ++g) {
        const Stage& stage = tested.stages.front();
        rates.emplace_back(tested.groups[g].name, stage.trainable[g] ? rate * stage.multipliers[g] : 0.0);
    }
    return rates;
}

std::string heading(const RangeTestReport& report) {
    std::string what;
    if (report.tests.size() == 1) {
        const std::string& group = report.tests.front().group;
        what = group.empty() ? (of_slice(report) ? "all groups, the rate is the high end of their slice"
                                                 : "all groups, each at the rate times its multiplier")
                             : fmt::format("group {} alone, the others frozen", group);
    } else {
        what = "each group alone, the others frozen";
    }
    return fmt::format("Range test of stage {}: {}\nRates from {:.1e} to {:.1e} in {} updates, {} rank{}\n",
                       report.stage.name, what, report.config.start_lr, report.config.end_lr, report.config.num_it,
                       report.plan.world_size, report.plan.world_size == 1 ? "" : "s");
}

std::string curve_table(const RangeCurve& curve) {
    TextTable table({{"update", Align::right},
                     {"learning rate", Align::right},
                     {"loss", Align::right},
                     {"smoothed", Align::right}});
    const std::size_t size = curve.rates().size();
    const std::size_t each = std::max<std::size_t>(1, (size + rows_shown - 1) / rows_shown);
    for (std::size_t i = 0; i < size; ++i) {
        if (i % each != 0 && i + 1 != size) continue;
        table.add_row({fmt::format("{}", i + 1), rate_text(curve.rates()[i]), loss_text(curve.losses()[i]),
                       loss_text(curve.smoothed()[i])});
    }
    return table.text();
}

std::string suggestion_table(const RangeTestReport& report, const RangeTest& test) {
    const std::vector<NamedSuggestion> all = named_suggestions(*test.suggestions);
    std::vector<TextTable::Column> columns{
        {"suggestion", Align::left}, {"learning rate", Align::right}, {"smoothed loss", Align::right}};
    TextTable suggestions(columns);
    for (const auto& [name, title, suggestion] : all) {
        suggestions.add_row({title, rate_text(suggestion.rate), loss_text(suggestion.loss_there)});
    }
    std::string out = suggestions.text();
    if (!test.group.empty() || report.plan.groups.size() == 1) return out;
    columns = {{"group", Align::left}};
    for (const auto& each : all) columns.push_back({each.title, Align::right});
    TextTable rates(columns);
    for (std::size_t g = 0; g < report.plan.groups.size(); ++g) {
        std::vector<std::string> row{report.plan.groups[g].name};
        for (const auto& each : all) {
            const double rate = group_rates(report, test, each.suggestion.rate)[g].second;
            row.push_back(rate == 0.0 ? "frozen" : rate_text(rate));
        }
        rates.add_row(std::move(row));
    }
    return out + "\nRates of the groups at each suggestion\n\n" + rates.text();
}

constexpr const char* too_short =
    "No suggestion: too few losses before the test ended. Lower start_lr, or raise num_it.\n";

std::string one_test(const RangeTestReport& report) {
    const RangeTest& test = report.tests.front();
    return fmt::format("{}{}\n\n{}\n{}", heading(report), end_text(test.curve), curve_table(test.curve),
                       test.suggestions ? suggestion_table(report, test) : too_short);
}

std::string several_tests(const RangeTestReport& report) {
    TextTable table({{"group", Align::left},
                     {"valley", Align::right},
                     {"steep", Align::right},
                     {"minimum / 10", Align::right},
                     {"least loss", Align::right},
                     {"test", Align::left}});
    for (const RangeTest& test : report.tests) {
        std::vector<std::string> row{test.group};
        if (test.suggestions) {
            for (const auto& each : named_suggestions(*test.suggestions)) {
                row.push_back(rate_text(each.suggestion.rate));
            }
        } else {
            row.insert(row.end(), {"none", "none", "none"});
        }
        const auto& smoothed = test.curve.smoothed();
        row.push_back(smoothed.empty() ? "" : loss_text(*std::min_element(smoothed.begin(), smoothed.end())));
        row.push_back(end_text(test.curve));
        table.add_row(std::move(row));
    }
    return heading(report) + "\n" + table.text();
}

nlohmann::json suggestions_json(const RangeTestReport& report, const RangeTest& test) {
    if (!test.suggestions) return nullptr;
    nlohmann::json out = nlohmann::json::object();
    for (const auto& [name, title, suggestion] : named_suggestions(*test.suggestions)) {
        nlohmann::json groups = nlohmann::json::object();
        for (const auto& [group, rate] : group_rates(report, test, suggestion.rate)) groups[group] = rate;
        out[name] = {{"learning_rate", suggestion.rate},
                     {"at", {{"learning_rate", suggestion.rate_there}, {"smoothed", suggestion.loss_there}}},
                     {"groups", std::move(groups)}};
    }
    return out;
}

}  // namespace

std::vector<NamedSuggestion> named_suggestions(const RangeSuggestions& suggestions) {
    return {{"valley", "valley", suggestions.valley},
            {"steep", "steep", suggestions.steep},
            {"minimum", "minimum / 10", suggestions.minimum}};
}

std::string range_test_table(const RangeTestReport& report) {
    STRATA_CHECK(!report.tests.empty(), "a report of no test");
    return report.tests.size() == 1 ? one_test(report) : several_tests(report);
}

nlohmann::json range_test_json(const RangeTestReport& report) {
    nlohmann::json tests = nlohmann::json::array();
    for (const RangeTest& test : report.tests) {
        const RangeCurve& curve = test.curve;
        tests.push_back({{"group", test.group.empty() ? nlohmann::json() : nlohmann::json(test.group)},
                         {"end", end_name(curve.end())},
                         {"learning_rate", curve.rates()},
                         {"loss", curve.losses()},
                         {"smoothed", curve.smoothed()},
                         {"judged", {curve.first_judged(), curve.last_judged()}},
                         {"suggestions", suggestions_json(report, test)}});
    }
    return {{"stage", report.stage.name},
            {"start_lr", report.config.start_lr},
            {"end_lr", report.config.end_lr},
            {"num_it", report.config.num_it},
            {"stop_div", report.config.stop_div},
            {"policy", policy_name(report.plan.policy)},
            {"hash", fmt::format("{:016x}", report.plan.hash())},
            {"world_size", report.plan.world_size},
            {"tests", std::move(tests)}};
}

}  // namespace strata::optim
