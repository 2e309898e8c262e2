// strata lr-find: the rates at which a stage of a run learns, found before it. Writes what --json and --svg name, and
// nothing else.
#include <cstdio>
#include <vector>

#include "apps/strata/commands.h"
#include "apps/strata/config_places.h"
#include "apps/strata/device.h"
#include "apps/strata/experiment.h"
#include "apps/strata/lr_finder.h"
#include "apps/strata/output_file.h"
#include "apps/strata/stop_signal.h"
#include "apps/strata/threads.h"
#include "apps/strata/train_plan.h"
#include "apps/strata/train_step.h"
#include "core/error.h"
#include "core/file.h"
#include "dist/agreement.h"
#include "optim/range_test_output.h"

namespace strata::app {
namespace {

Experiment load(Config config) {
    // Only what is trained on is looked at.
    config.validation_file.clear();
    config.test_file.clear();
    return load_for_training(config);
}

/// The groups to test one after another; one empty name stands for all together. Refuses what range_test_plan refuses.
std::vector<std::string> groups_to_test(const Config& config, const optim::Plan& plan) {
    const optim::Plan together = optim::range_test_plan(plan, range_test_of(config), config.range_stage, "");
    if (!config.each_group) {
        optim::range_test_plan(plan, range_test_of(config), config.range_stage, config.range_group);
        return {config.range_group};
    }
    std::vector<std::string> names;
    for (std::size_t g = 0; g < plan.groups.size(); ++g) {
        if (together.stages.front().trainable[g]) names.push_back(plan.groups[g].name);
    }
    return names;
}

void write_report(const Config& config, const optim::RangeTestReport& report) {
    std::printf("%s", optim::range_test_table(report).c_str());
    if (!config.json.empty()) write_file_atomically(config.json, optim::range_test_json(report).dump(2) + "\n");
    if (!config.svg.empty()) write_file_atomically(config.svg, optim::range_test_svg(report));
}

}  // namespace

int run_lr_find(const Config& given, dist::MpiCommunicator& communicator) {
    const StopSignal stop;
    Config config = given;
    dist::collectively(communicator, "looking at the outputs", [&] {
        require_folder_of(config.json, "json");
        require_folder_of(config.svg, "svg");
    });
    const torch::Device device = choose_device(config, communicator);
    const std::string precision = settle_precision(config, device, communicator);
    const Experiment experiment =
        dist::collectively(communicator, "loading model and data", [&] { return load(config); });
    const RunLength length = dist::collectively(
        communicator, "planning", [&] { return run_length(config, experiment.train->size(), communicator.size()); });
    const int per_host = ranks_per_host(config, communicator);
    const optim::Plan plan = dist::collectively(communicator, "planning", [&] {
        return make_train_plan(config, experiment.manifest(), length, communicator.size(), per_host);
    });
    const std::vector<std::string> groups = dist::collectively(
        communicator, "planning", [&] { return naming_places(config, [&] { return groups_to_test(config, plan); }); });
    dist::require_equal_everywhere(communicator, "the plan", plan.hash());

    for (const auto& note : experiment.data_notes) say(communicator, note);
    say(communicator, fmt::format("range test: {} of at most {} updates of {} samples, on {} rank(s) of {} thread(s)\n",
                                  groups.size() == 1 ? "one" : fmt::format("{}, one after another,", groups.size()),
                                  config.num_it, length.global_batch_size, communicator.size(), thread_count()));
    if (!precision.empty()) say(communicator, precision);
    move_model(experiment.model(), device);
    const auto gpus = gpu_communicator(config, device, communicator);
    optim::RangeTestReport report{plan, optim::tested_stage(plan, config.range_stage), range_test_of(config), {}};
    for (const std::string& group : groups) {
        Progress bar(Progress::mode_of(config.progress, communicator.rank()), group.empty() ? "lr-find" : group,
                     config.num_it);
        auto test = find_rates(config, experiment, plan, length, group, communicator, gpus.get(), stop, bar);
        if (!test) {
            say(communicator, "stopped on a signal; nothing is written");
            return exit_stopped;
        }
        report.tests.push_back(std::move(*test));
    }
    dist::collectively(communicator, "writing the range test", [&] {
        if (communicator.rank() == 0) write_report(config, report);
    });
    return exit_done;
}

}  // namespace strata::app
