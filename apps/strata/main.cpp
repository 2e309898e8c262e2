// strata: the program. Parse, choose the command, turn errors into one message and an exit code.
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <string_view>

#include "apps/strata/commands.h"
#include "apps/strata/options.h"
#include "apps/strata/provenance.h"
#include "apps/strata/threads.h"
#include "core/error.h"
#include "core/heap.h"
#include "dist/agreement.h"
#include "dist/job_watch.h"
#include "dist/launch_environment.h"
#include "dist/mpi_communicator.h"
#include "dist/mpi_environment.h"
#include "models/tensor_heap.h"

namespace strata::app {
namespace {

int exit_code_of(const std::exception& error) {
    return dynamic_cast<const UserError*>(&error) != nullptr ? exit_wrong_input : exit_failed;
}

/// On standard error; warnings too.
void print_error(const std::string& message) {
    std::fprintf(stderr, "strata: %s\n", message.c_str());
    std::fflush(stderr);
}

std::string host_name() {
    char name[256] = "";
    gethostname(name, sizeof(name) - 1);
    return name;
}

int dispatch(const CommandLine& line, dist::MpiCommunicator& communicator) {
    if (line.command == command_train) return run_train(line.config, communicator);
    if (line.command == command_lr_find) return run_lr_find(line.config, communicator);
    if (line.command == command_bench_step) return run_bench_step(line.config, communicator);
    if (line.command == command_evaluate) return run_evaluate(line.config, communicator);
    return run_predict(line.config, communicator);
}

/// Ranks that run different programs would send one another what the other side does not understand.
void require_one_program(dist::Communicator& communicator) {
    dist::require_equal_everywhere(communicator, "the program", program_text());
    const auto difference = dist::difference_of(communicator, arithmetic_text());
    if (difference && communicator.rank() == 0) {
        print_error("processors differ, so the last digits may change when ranks change places: " + *difference);
    }
}

/// All ranks must have been started with one configuration: a file that differs between hosts would make them train
/// different models, or wait for one another for ever.
void require_one_configuration(const CommandLine& line, dist::Communicator& communicator) {
    dist::require_equal_everywhere(
        communicator, "the configuration",
        "command = \"" + line.command_name + "\"\n" + to_toml(line.config, line.command, true));
}

dist::WatchLimits watch_limits(const Config& config) {
    const auto milliseconds = [](double seconds) {
        return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::duration<double>(seconds));
    };
    return {milliseconds(config.heartbeat_timeout), milliseconds(config.ddp_timeout)};
}

/// An error that every rank throws alike is printed once and ends the job in good order; any other ends it at once,
/// because the other ranks may be waiting for this one.
int run_distributed(const CommandLine& line, const dist::LaunchEnvironment& launch, dist::JobWatch& watch) {
    try {
        watch.expect_meeting(launch.rank);
        dist::MpiCommunicator communicator;
        dist::verify_launch(
            launch, {communicator.rank(), communicator.size(), communicator.local_rank(), communicator.local_size()});
        require_one_program(communicator);
        watch.watch(communicator);
        use_threads(communicator.local_size());
        require_one_configuration(line, communicator);
        return dispatch(line, communicator);
    } catch (const std::exception& error) {
        const bool agreed = dist::is_agreed(error);
        if (!agreed) watch.leave_after_failure(exit_code_of(error));
        if (!agreed || launch.rank == 0) print_error(error.what());
        if (!agreed) dist::abort_job(exit_code_of(error));
        return exit_code_of(error);
    }
}

int run_alone(const CommandLine& line) {
    if (line.command == command_plan) return run_plan(line.config);
    if (line.command == command_tokenize) return run_tokenize(line.config);
    if (line.command == command_report) return run_report(line.config);
    if (line.command == command_verify) return run_verify(line.config);
    if (line.command == command_export) return run_export(line.config);
    if (line.command == command_average) return run_average(line.config);
    if (line.command == command_diff) return run_diff(line.config);
    return run_inspect(line.config);
}

int run(int argc, char** argv) {
    dist::LaunchEnvironment launch;
    CommandLine line;
    try {
        launch = dist::read_launch_environment(dist::process_environment(), host_name());
        if (argc == 2 && std::string_view(argv[1]) == "--version") {
            if (launch.rank == 0) std::printf("%s", program_text().c_str());
            return exit_done;
        }
        line = parse_command_line(argc, argv);
        if (line.help) {
            if (launch.rank == 0) std::printf("%s", line.help_text.c_str());
            return exit_done;
        }
        constexpr unsigned distributed =
            command_train | command_lr_find | command_bench_step | command_evaluate | command_predict;
        if ((line.command & distributed) == 0) return run_alone(line);
    } catch (const std::exception& error) {
        // Every rank reads the same arguments; one message is enough.
        if (launch.rank == 0) print_error(error.what());
        return exit_code_of(error);
    }
    dist::JobWatch watch(watch_limits(line.config), print_error);  // outlives MPI, whose end it watches too
    const dist::MpiEnvironment mpi(&argc, &argv);
    return run_distributed(line, launch, watch);
}

}  // namespace
}  // namespace strata::app

int main(int argc, char** argv) {
    strata::forget_old_products();
    strata::models::keep_tensors_in_heap();
    const int exit_code = strata::app::run(argc, argv);
    // All that Strata opened is closed. What LibTorch does after main is to forget its operators one by one, which
    // takes longer than many a command.
    std::fflush(nullptr);
    std::_Exit(exit_code);
}
