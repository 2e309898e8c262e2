// The folder a run leaves behind: config.toml, plan.csv, plan.json, provenance.json, metrics.jsonl, checkpoints,
// results, report.html. Only rank 0 writes it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "apps/strata/config.h"

namespace strata::app {

inline constexpr const char* config_name = "config.toml";
inline constexpr const char* plan_name = "plan.json";              ///< optim::plan_json
inline constexpr const char* provenance_name = "provenance.json";  ///< versions, host, ranks, time of the last start
inline constexpr const char* metrics_name = "metrics.jsonl";
inline constexpr const char* evaluations_name = "evaluations.jsonl";
inline constexpr const char* all_results_name = "all_results.json";
inline constexpr const char* report_name = "report.html";

class RunDirectory {
  public:
    explicit RunDirectory(std::filesystem::path path) : path_(std::move(path)) {}

    /// The folder, where there is none. Throws UserError where there cannot be one.
    void make() const;

    /// Makes the folder ready for a run that starts at the beginning. Throws UserError where it holds another run,
    /// unless `overwrite`: then that run's own files, and nothing else, are removed.
    void start(bool overwrite) const;

    /// Makes the folder ready for going on after `step`: later lines of metrics.jsonl and evaluations.jsonl are
    /// dropped, for their steps will be made again.
    void resume(std::int64_t step) const;

    void write_text(const std::string& name, const std::string& text) const;

    /// Writes NAME_results.json and merges the values into all_results.json.
    void write_results(const std::string& name, const nlohmann::json& values) const;

    /// Whether a training has come to its end here.
    bool finished() const;

    /// What was written so; an empty object where nothing was, or no JSON is.
    nlohmann::json results(const std::string& name) const;

    /// Adds one line to metrics.jsonl (logged updates) or evaluations.jsonl and hands it to the system at once, so that
    /// a killed run keeps its log.
    void append_metrics(const nlohmann::json& line) const;
    void append_evaluation(const nlohmann::json& line) const;

    const std::filesystem::path& path() const { return path_; }

  private:
    void append(const char* name, const nlohmann::json& line) const;

    std::filesystem::path path_;
};

}  // namespace strata::app
