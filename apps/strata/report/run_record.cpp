#include "apps/strata/report/run_record.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "apps/strata/config_changes.h"
#include "apps/strata/report/json_lines.h"
#include "apps/strata/run_directory.h"
#include "core/error.h"
#include "core/file.h"
#include "core/nearest.h"

namespace strata::app::report {
namespace fs = std::filesystem;
namespace {

constexpr double missing = std::numeric_limits<double>::quiet_NaN();

bool is_run(const fs::path& folder) {
    std::error_code ignored;
    return fs::exists(folder / config_name, ignored) || fs::exists(folder / metrics_name, ignored);
}

/// " Runs in runs/: a, b" for the folder itself or, where it is missing, the one it would lie in.
std::string runs_nearby(const fs::path& folder) {
    std::error_code failure;
    const fs::path parent = folder.has_parent_path() ? folder.parent_path() : fs::path(".");
    const fs::path where = fs::is_directory(folder, failure) ? folder : parent;
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(where, failure)) {
        if (is_run(entry.path())) names.push_back(entry.path().filename().string());
    }
    if (names.empty()) return {};
    std::sort(names.begin(), names.end());
    std::string text = fmt::format(" Runs in {}:", where.string());
    for (const auto& name : nearest_names(folder.filename().string(), names)) text += " " + name;
    return text;
}

void require_run(const fs::path& folder) {
    if (!fs::exists(folder)) user_error("{}: no such folder.{}", folder.string(), runs_nearby(folder));
    if (!fs::is_directory(folder)) user_error("{}: is a file, expected a run directory", folder.string());
    if (!is_run(folder)) {
        user_error("{}: is no run directory: neither {} nor {} is in it.{}", folder.string(), config_name, metrics_name,
                   runs_nearby(folder));
    }
}

/// Fills the columns, which `rows` lines share, line by line; names keep the order in which they are met.
class Columns {
  public:
    explicit Columns(std::size_t rows) : rows_(rows) {}

    void set(NamedColumns& columns, const std::string& name, std::size_t row, double value) const {
        auto found = std::find_if(columns.begin(), columns.end(), [&](const auto& each) { return each.first == name; });
        if (found == columns.end()) found = columns.insert(columns.end(), {name, Column(rows_, missing)});
        found->second[row] = value;
    }

    void set(std::map<std::string, Column>& columns, const std::string& name, std::size_t row, double value) const {
        columns.try_emplace(name, rows_, missing).first->second[row] = value;
    }

  private:
    std::size_t rows_;
};

/// Groups in the order of `order`, which JSON objects do not keep; names that it lacks stay, at the end.
void sort_by(NamedColumns& columns, const std::vector<std::string>& order) {
    const auto place = [&](const auto& column) {
        return std::find(order.begin(), order.end(), column.first) - order.begin();
    };
    std::stable_sort(columns.begin(), columns.end(), [&](const auto& a, const auto& b) { return place(a) < place(b); });
}

/// Stages as the log tells them, for a run without a plan.json.
void follow_stage(RunRecord& run, const LoggedLine& line, double step) {
    const auto stage = line.object.find("stage");
    if (stage == line.object.end() || !stage->is_string()) return;
    if (run.stages.empty() || run.stages.back().name != stage->get<std::string>()) {
        run.stages.push_back({stage->get<std::string>(), run.stages.empty() ? 0 : run.stages.back().end, step});
    }
    run.stages.back().end = step;
}

void add_notes(RunRecord& run, const JsonLines& log, const char* file) {
    if (log.replaced > 0) {
        run.notes.push_back(
            fmt::format("{} lines of {} are replaced by later ones: the run was started again from an earlier update.",
                        log.replaced, file));
    }
    if (log.cut_short) {
        run.notes.push_back(fmt::format("The last line of {} has no end yet and is left out.", file));
    }
}

void read_metrics(RunRecord& run) {
    const fs::path file = run.path / metrics_name;
    const JsonLines log = read_lines(file);
    add_notes(run, log, metrics_name);
    const Columns columns(log.lines.size());
    for (std::size_t row = 0; row < log.lines.size(); ++row) {
        const LoggedLine& line = log.lines[row];
        run.steps.push_back(number_at(file, line, line.object, "step"));
        if (run.plan.is_null()) follow_stage(run, line, run.steps.back());
        for (const auto& [key, value] : line.object.items()) {
            if (key == "step" || value.is_string()) continue;
            if (!value.is_object()) {
                columns.set(run.numbers, key, row, number_at(file, line, line.object, key));
                continue;
            }
            for (const auto& [name, inner] : value.items())
                columns.set(run.by_name[key], name, row, number_at(file, line, value, name));
        }
    }
}

void read_evaluations(RunRecord& run) {
    const fs::path file = run.path / evaluations_name;
    const JsonLines log = read_lines(file);
    add_notes(run, log, evaluations_name);
    for (const LoggedLine& line : log.lines) {
        Evaluation evaluation{number_at(file, line, line.object, "step"), {}};
        for (const auto& [key, value] : line.object.items()) {
            if (key.starts_with("eval_")) evaluation.values[key] = number_at(file, line, line.object, key);
        }
        run.evaluations.push_back(std::move(evaluation));
    }
}

/// The evaluation that ends a run stands among its results alone.
void add_last_evaluation(RunRecord& run) {
    if (!run.finished()) return;
    Evaluation last{number_or(run.results, "train_steps", 0.0), {}};
    for (const auto& [key, value] : run.results.items()) {
        if (key.starts_with("eval_") && value.is_number()) last.values[key] = value.get<double>();
    }
    const bool later = run.evaluations.empty() || run.evaluations.back().step < last.step;
    if (later && !last.values.empty()) run.evaluations.push_back(std::move(last));
}

void read_plan(RunRecord& run) {
    run.plan = read_object(run.path / plan_name);
    if (run.plan.is_null()) return;
    try {
        for (const auto& group : run.plan.at("groups")) run.groups.push_back(group.at("name"));
        for (const auto& stage : run.plan.at("stages"))
            run.stages.push_back({stage.at("name"), stage.at("first_step"), stage.at("end_step")});
    } catch (const nlohmann::json::exception& error) {
        user_error("{}: is not a plan that strata wrote: {}", (run.path / plan_name).string(), error.what());
    }
}

/// Names that lr has and the plan lacks are groups too: an earlier part of the run may have had another plan.
void order_groups(RunRecord& run) {
    const auto rates = run.by_name.find("lr");
    if (rates == run.by_name.end()) return;
    if (run.plan.is_null()) {
        run.notes.push_back(fmt::format(
            "There is no {}: groups stand in the order of their names, and the plan is not shown.", plan_name));
    }
    sort_by(rates->second, run.groups);
    for (const auto& [name, values] : rates->second) {
        if (std::find(run.groups.begin(), run.groups.end(), name) == run.groups.end()) run.groups.push_back(name);
    }
    for (auto& [key, columns] : run.by_name) sort_by(columns, run.groups);
}

std::string folder_name(const fs::path& folder) {
    const fs::path whole = fs::weakly_canonical(folder);
    return whole.filename().empty() ? whole.string() : whole.filename().string();
}

}  // namespace

const Column* RunRecord::number(const std::string& key) const {
    const auto found = numbers.find(key);
    return found == numbers.end() ? nullptr : &found->second;
}

const NamedColumns* RunRecord::columns(const std::string& key) const {
    const auto found = by_name.find(key);
    return found == by_name.end() ? nullptr : &found->second;
}

std::string RunRecord::setting(const std::string& key) const {
    const auto found = config.find(key);
    if (found == config.end()) return {};
    const std::string& text = found->second;
    const bool quoted =
        text.size() >= 2 && (text.front() == '"' || text.front() == '\'') && text.back() == text.front();
    return quoted ? text.substr(1, text.size() - 2) : text;
}

double RunRecord::last_step() const {
    const double logged = steps.empty() ? 0 : steps.back();
    return std::max(logged, evaluations.empty() ? 0 : evaluations.back().step);
}

double RunRecord::planned_steps() const {
    return number_or(plan, "total_steps", 0.0);
}

bool RunRecord::finished() const {
    const double made = number_or(results, "train_steps", 0.0);
    return made > 0.0 && (steps.empty() || made >= steps.back());
}

RunRecord read_run(const fs::path& folder) {
    require_run(folder);
    RunRecord run;
    run.path = folder;
    run.name = folder_name(folder);
    if (fs::exists(folder / config_name)) run.config = config_entries(read_file(folder / config_name));
    run.provenance = read_object(folder / provenance_name);
    run.results = read_object(folder / all_results_name);
    read_plan(run);
    read_metrics(run);
    order_groups(run);
    read_evaluations(run);
    add_last_evaluation(run);
    return run;
}

}  // namespace strata::app::report
