#include "apps/strata/run_directory.h"

#include <sstream>

#include "apps/strata/event_file.h"
#include "core/error.h"
#include "core/file.h"

namespace strata::app {
namespace fs = std::filesystem;
namespace {

/// Only what a run writes: a folder that a user named by mistake keeps everything else.
bool is_run_file(const std::string& name) {
    for (const char* own : {config_name, "plan.csv", plan_name, provenance_name, metrics_name, evaluations_name,
                            report_name, "config.json", "model.safetensors", "model.pt", "vocab.txt", "tokenizer.json",
                            "tokenizer_config.json", "special_tokens_map.json", "predictions.jsonl"}) {
        if (name == own) return true;
    }
    if (name.starts_with("checkpoint-") || name.starts_with(event_file_prefix)) return true;
    return name.size() > 13 && name.ends_with("_results.json");
}

void drop_lines_after(const fs::path& log, std::int64_t step) {
    if (!fs::exists(log)) return;
    std::istringstream lines(read_file(log));
    std::string kept;
    for (std::string line; std::getline(lines, line);) {
        const auto object = nlohmann::json::parse(line, nullptr, false);
        // The last line of a killed run may be cut short.
        if (!object.is_object() || !object.contains("step")) continue;
        if (object["step"].get<std::int64_t>() <= step) kept += line + "\n";
    }
    write_file_atomically(log, kept);
}

nlohmann::json object_if_there(const fs::path& path) {
    const auto values = fs::exists(path) ? nlohmann::json::parse(read_file(path), nullptr, false) : nlohmann::json();
    return values.is_object() ? values : nlohmann::json::object();
}

}  // namespace

void RunDirectory::make() const {
    if (fs::exists(path_) && !fs::is_directory(path_))
        user_error("output_dir {}: is a file, expected a folder", path_.string());
    std::error_code failure;
    fs::create_directories(path_, failure);
    if (failure) user_error("output_dir {}: cannot be made: {}", path_.string(), failure.message());
}

void RunDirectory::start(bool overwrite) const {
    make();
    if (fs::exists(path_ / config_name) || fs::exists(path_ / metrics_name)) {
        if (!overwrite) {
            user_error(
                "output_dir {}: holds another run. Go on with it: --resume_from_checkpoint auto; "
                "start over: --overwrite_output_dir true; or name another folder",
                path_.string());
        }
        for (const auto& entry : fs::directory_iterator(path_)) {
            if (is_run_file(entry.path().filename().string())) fs::remove_all(entry.path());
        }
    }
}

void RunDirectory::resume(std::int64_t step) const {
    make();
    for (const char* name : {metrics_name, evaluations_name}) drop_lines_after(path_ / name, step);
}

void RunDirectory::write_text(const std::string& name, const std::string& text) const {
    write_file_atomically(path_ / name, text);
}

void RunDirectory::write_results(const std::string& name, const nlohmann::json& values) const {
    write_text(name + "_results.json", values.dump(4) + "\n");
    nlohmann::json all = object_if_there(path_ / all_results_name);
    all.update(values);
    write_text(all_results_name, all.dump(4) + "\n");
}

bool RunDirectory::finished() const {
    return fs::exists(path_ / "train_results.json");
}

nlohmann::json RunDirectory::results(const std::string& name) const {
    return object_if_there(path_ / (name + "_results.json"));
}

void RunDirectory::append_metrics(const nlohmann::json& line) const {
    append(metrics_name, line);
}

void RunDirectory::append_evaluation(const nlohmann::json& line) const {
    append(evaluations_name, line);
}

void RunDirectory::append(const char* name, const nlohmann::json& line) const {
    append_to_file(path_ / name, line.dump() + "\n");
}

}  // namespace strata::app
