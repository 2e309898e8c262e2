// What runs came to.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <set>

#include "apps/strata/report/json_lines.h"
#include "apps/strata/report/numbers.h"
#include "apps/strata/report/table.h"
#include "apps/strata/report/tables.h"
#include "optim/text_table.h"

namespace strata::app::report {
namespace {

using optim::svg::escaped;

constexpr double missing = std::numeric_limits<double>::quiet_NaN();

enum class Better { higher, lower, neither };

/// A figure of a run: a metric, a time, a speed.
struct Figure {
    std::string title;
    Better better = Better::neither;
    std::string (*text)(double) = number_text;
    std::vector<double> values = {};  ///< one for each run
};

double last_of(const Column* column) {
    if (column == nullptr) return missing;
    const auto found =
        std::find_if(column->rbegin(), column->rend(), [](double value) { return std::isfinite(value); });
    return found == column->rend() ? missing : *found;
}

/// At the end of the run; before it has ended, as last measured.
double evaluated_last(const RunRecord& run, const std::string& key) {
    if (run.evaluations.empty()) return missing;
    const auto& values = run.evaluations.back().values;
    const auto found = values.find(key);
    return found == values.end() ? missing : found->second;
}

double result(const RunRecord& run, const char* key) {
    return run.finished() ? number_or(run.results, key, missing) : missing;
}

std::string step_count(double steps) {
    return std::isfinite(steps) ? optim::grouped_digits(std::llround(steps)) : "–";
}

std::vector<std::string> metric_names(const Runs& runs) {
    std::set<std::string> names;
    for (const RunRecord& run : runs) {
        if (run.evaluations.empty()) continue;
        for (const auto& [key, value] : run.evaluations.back().values) {
            if (is_metric(key)) names.insert(key);
        }
    }
    std::vector<std::string> out(names.begin(), names.end());
    // What people ask for first.
    std::stable_partition(out.begin(), out.end(), [](const auto& name) { return name.starts_with("eval_accuracy"); });
    return out;
}

std::vector<Figure> figures_of(const Runs& runs) {
    std::vector<Figure> figures;
    const auto add = [&](Figure figure, auto&& value) {
        for (const RunRecord& run : runs) figure.values.push_back(value(run));
        const bool any =
            std::any_of(figure.values.begin(), figure.values.end(), [](double each) { return std::isfinite(each); });
        if (any) figures.push_back(std::move(figure));
    };
    for (const std::string& key : metric_names(runs))
        add({metric_title(key), Better::higher}, [&](const RunRecord& run) { return evaluated_last(run, key); });
    add({"Evaluation loss", Better::lower}, [](const RunRecord& run) { return evaluated_last(run, "eval_loss"); });
    add({"Training loss", Better::lower}, [](const RunRecord& run) {
        const double mean = result(run, "train_loss");
        return std::isfinite(mean) ? mean : last_of(run.number("mean_loss"));
    });
    add({"Updates", Better::neither, step_count}, [](const RunRecord& run) { return run.last_step(); });
    add({"Epochs"}, [](const RunRecord& run) {
        const double epochs = result(run, "epoch");
        return std::isfinite(epochs) ? epochs : last_of(run.number("epoch"));
    });
    add({"Training time", Better::lower, duration_text},
        [](const RunRecord& run) { return result(run, "train_runtime"); });
    add({"Tokens a second", Better::higher}, [](const RunRecord& run) {
        const double mean = result(run, "train_tokens_per_second");
        return std::isfinite(mean) ? mean : last_of(run.number("tokens_per_second"));
    });
    add({"Updates skipped", Better::lower, step_count},
        [](const RunRecord& run) { return last_of(run.number("skipped_steps")); });
    return figures;
}

/// The best of several different values; none where all are alike.
std::optional<double> best_of(const Figure& figure) {
    std::vector<double> values;
    std::copy_if(figure.values.begin(), figure.values.end(), std::back_inserter(values),
                 [](double value) { return std::isfinite(value); });
    if (figure.better == Better::neither || values.size() < 2) return std::nullopt;
    const auto [low, high] = std::minmax_element(values.begin(), values.end());
    if (*low == *high) return std::nullopt;
    return figure.better == Better::higher ? *high : *low;
}

}  // namespace

std::string result_tiles(const RunRecord& run) {
    std::string out;
    for (const Figure& figure : figures_of({run}))
        out += fmt::format("<div><dt>{}</dt><dd>{}</dd></div>\n", escaped(figure.title),
                           escaped(figure.text(figure.values.front())));
    return out.empty() ? "" : "<dl class=\"tiles\">\n" + out + "</dl>\n";
}

std::string comparison_table(const Runs& runs) {
    const std::vector<Figure> figures = figures_of(runs);
    std::vector<Table::Column> columns{{"Run"}};
    for (const Figure& figure : figures) columns.push_back({figure.title, true});
    Table table("Results of the runs", std::move(columns));
    for (std::size_t r = 0; r < runs.size(); ++r) {
        std::vector<std::string> cells{with_ink(runs[r].name, run_ink(r))};
        for (const Figure& figure : figures) {
            const std::string text = escaped(figure.text(figure.values[r]));
            const auto best = best_of(figure);
            cells.push_back(best && figure.values[r] == *best
                                ? fmt::format("<b class=\"best\">{}<span class=\"unseen\"> (best)</span></b>", text)
                                : text);
        }
        table.add_row(cells);
    }
    return table.html();
}

}  // namespace strata::app::report
