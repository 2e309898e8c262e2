// strata bench step: where the time of a training step goes. Writes what --json names, and nothing else.
#include <cstdio>

#include "apps/strata/commands.h"
#include "apps/strata/device.h"
#include "apps/strata/experiment.h"
#include "apps/strata/output_file.h"
#include "apps/strata/step_bench.h"
#include "apps/strata/step_bench_output.h"
#include "apps/strata/train_plan.h"
#include "core/file.h"
#include "dist/agreement.h"

namespace strata::app {
namespace {

/// As given, less what is no part of a step's speed.
Config settled(Config config) {
    config.validation_file.clear();
    config.test_file.clear();
    config.cache_frozen = "false";  // a step that goes through the network is what is measured
    return config;
}

}  // namespace

int run_bench_step(const Config& given, dist::MpiCommunicator& communicator) {
    Config config = settled(given);
    const std::string precision = settle_precision(config, torch::kCPU, communicator);
    Experiment experiment = dist::collectively(communicator, "loading the data", [&] {
        require_folder_of(config.json, "json");
        return load_texts_for_training(config, global_batch_size(config, communicator.size()));
    });
    if (!precision.empty()) say(communicator, precision);
    const StepBench bench = measure_steps(config, experiment, communicator);
    dist::collectively(communicator, "writing what was measured", [&] {
        if (communicator.rank() != 0) return;
        std::printf("%s", step_bench_text(bench).c_str());
        if (!config.json.empty()) write_file_atomically(config.json, step_bench_json(bench).dump(2) + "\n");
    });
    return exit_done;
}

}  // namespace strata::app
