// strata evaluate and strata predict: a trained folder on new data, by all ranks together.
#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "apps/strata/commands.h"
#include "apps/strata/device.h"
#include "apps/strata/experiment.h"
#include "apps/strata/output_file.h"
#include "apps/strata/results.h"
#include "apps/strata/run_directory.h"
#include "core/error.h"
#include "dist/agreement.h"

namespace strata::app {
namespace fs = std::filesystem;
namespace {

/// For people: standard output is the results'.
void note(const dist::Communicator& communicator, const std::string& text) {
    if (communicator.rank() == 0) std::fprintf(stderr, "%s\n", text.c_str());
}

/// A run's file names the model that the run began with, which is seldom the one that is meant.
void point_to_trained_model(const Config& config, const dist::Communicator& communicator) {
    const bool is_module = !config.torchscript.empty();
    const char* const key = is_module ? "torchscript" : "model_name_or_path";
    const auto in_file = config.places.lines.find(key);
    if (in_file == config.places.lines.end()) return;
    const fs::path run = fs::absolute(config.places.file).parent_path();
    const fs::path trained = is_module ? run / "model.pt" : run;
    const fs::path given = is_module ? config.torchscript : config.model_name_or_path;
    const bool is_run = fs::exists(is_module ? trained : run / "config.json");
    if (!is_run || fs::weakly_canonical(given) == fs::weakly_canonical(trained)) return;
    note(communicator, fmt::format("{}:{}: {} is what the run began with; what it has trained is --{} {}",
                                   config.places.file, in_file->second, key, key, trained.string()));
}

/// The figures are called alike whichever file they are of, and a run's file may name one that is not meant.
void say_what_is_measured(const Config& config, const Experiment& experiment, const dist::Communicator& communicator) {
    const bool of_test = config.validation_file.empty();
    for (const auto& set : experiment.validation) {
        note(communicator, fmt::format("{}: measured as eval_*{}{}", set.corpus->path().string(), set.suffix,
                                       of_test ? ", since no validation_file is named" : ""));
    }
    if (!of_test && !config.test_file.empty())
        note(communicator, fmt::format("{}: not measured, since a validation_file is named", config.test_file));
}

Experiment load(const Config& given, bool needs_labels, dist::Communicator& communicator) {
    Config config = given;
    point_to_trained_model(config, communicator);
    const torch::Device device = choose_device(config, communicator);
    const std::string precision = settle_inference_precision(config, common_bf16(device, communicator));
    Experiment experiment = dist::collectively(communicator, "loading model and data",
                                               [&] { return load_for_inference(config, needs_labels); });
    round_parameters(experiment.model(), compute_type(config));
    move_model(experiment.model(), device);
    for (const auto& line : experiment.data_notes) note(communicator, line);
    if (!precision.empty()) note(communicator, precision);
    return experiment;
}

}  // namespace

int run_evaluate(const Config& config, dist::MpiCommunicator& communicator) {
    const RunDirectory folder(config.output_dir);
    const bool writes = !config.output_dir.empty();
    dist::collectively(communicator, "preparing --output_dir", [&] {
        if (writes && communicator.rank() == 0) folder.make();
    });
    const auto in_file = config.places.lines.find("output_dir");
    if (in_file != config.places.lines.end()) {
        note(communicator, fmt::format("{}:{}: output_dir is the run's, whose results stay; --output_dir FOLDER writes "
                                       "these to a file",
                                       config.places.file, in_file->second));
    }
    const Experiment experiment = load(config, true, communicator);
    say_what_is_measured(config, experiment, communicator);
    const nlohmann::json results = evaluate_sets(config, experiment, communicator);
    dist::collectively(communicator, "writing the results", [&] {
        if (communicator.rank() != 0) return;
        std::printf("%s\n", results.dump(4).c_str());
        if (writes) folder.write_results("eval", results);
    });
    return exit_done;
}

int run_predict(const Config& config, dist::MpiCommunicator& communicator) {
    if (config.output.empty())
        throw dist::AgreedUserError("--output is missing: name the file to write predictions to");
    dist::collectively(communicator, "looking at --output", [&] {
        if (communicator.rank() == 0) require_folder_of(config.output, "output");
    });
    const Experiment experiment = load(config, false, communicator);
    predict_test(config, experiment, config.output, communicator);
    if (communicator.rank() == 0) {
        std::printf("%lld predictions written to %s\n", static_cast<long long>(experiment.test->size()),
                    config.output.c_str());
    }
    return exit_done;
}

}  // namespace strata::app
