// What a run directory says about its run: all that a report is drawn from.
//
// Every file may be missing, for a run may be young, killed or older than the file; only what is there and is not what
// Strata writes is an error.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

namespace strata::app::report {

/// One number for each logged update; not a number where the log has none.
using Column = std::vector<double>;
using NamedColumns = std::vector<std::pair<std::string, Column>>;

struct Evaluation {
    double step = 0;
    std::map<std::string, double> values;  ///< "eval_accuracy", …
};

struct StageSpan {
    std::string name;
    double first = 0;  ///< updates made when it begins
    double end = 0;    ///< updates made when it ends
};

struct RunRecord {
    std::filesystem::path path;
    std::string name;                           ///< the folder's own
    std::map<std::string, std::string> config;  ///< config.toml by key, as TOML text
    nlohmann::json plan;                        ///< plan.json: optim::plan_json; null where there is none
    nlohmann::json provenance;                  ///< provenance.json; null where there is none
    nlohmann::json results;                     ///< all_results.json; null where there is none
    std::vector<std::string> groups;            ///< from the input to the head

    Column steps;                                 ///< updates made, rising
    std::map<std::string, Column> numbers;        ///< "loss", "grad_norm", …: one each logged update
    std::map<std::string, NamedColumns> by_name;  ///< "lr", "group_grad_norm", … by group, "seconds" by phase
    std::vector<Evaluation> evaluations;          ///< steps rising, the one at the end included
    std::vector<StageSpan> stages;
    std::vector<std::string> notes;  ///< what a reader should know about the files, a sentence each

    const Column* number(const std::string& key) const;
    const NamedColumns* columns(const std::string& key) const;
    /// The value of a config key without its quotes; empty where it is not set.
    std::string setting(const std::string& key) const;
    double last_step() const;
    /// Updates that the plan has; 0 where no plan says.
    double planned_steps() const;
    /// True when all_results.json is that of the logged run, not of an earlier one that this one goes on from.
    bool finished() const;
};

/// Throws UserError: the folder is missing or no run directory (with the runs nearby), or a file in it is malformed
/// (metrics.jsonl:12). A last line without its end is one that is being written, or was when the run was killed, and is
/// left out; where steps repeat, the later line holds.
RunRecord read_run(const std::filesystem::path& folder);

}  // namespace strata::app::report
