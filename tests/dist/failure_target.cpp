// A job in which one rank fails, as a program's main handles it (apps/strata/main.cpp does the same).
// Arguments: how it fails; then, for jobs whose ranks watch one another, where, and a folder for the ranks' process
// numbers. See failure_test.cpp and job_watch_test.cpp.
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <thread>

#include "core/error.h"
#include "core/file.h"
#include "dist/agreement.h"
#include "dist/job_watch.h"
#include "dist/launch_environment.h"
#include "dist/mpi_communicator.h"
#include "dist/mpi_environment.h"

namespace strata::dist {
namespace {

constexpr int exit_user = 2;

/// The last rank fails while the others wait for it.
void work(const std::string& how, Communicator& communicator) {
    const bool failing = communicator.rank() == communicator.size() - 1;
    std::vector<float> values(1000, 1.0F);
    if (how == "agreed") {
        collectively(communicator, "reading", [&] {
            if (failing) user_error("the file is wrong");
        });
    } else if (how == "alone") {
        if (failing) user_error("only here");
    } else if (how == "under_way") {
        const Pending pending = communicator.all_reduce_sum(BufferView::of(values));
        if (failing) user_error("only here");
    } else {
        STRATA_CHECK(how == "fine", "unknown way to fail {}", how);
    }
    communicator.barrier();
}

int guarded(const std::string& how) {
    try {
        MpiCommunicator communicator;
        work(how, communicator);
        return 0;
    } catch (const UserError& error) {
        int rank = 0;
        MPI_Comm_rank(MPI_COMM_WORLD, &rank);
        if (!is_agreed(error) || rank == 0) std::fprintf(stderr, "message: %s\n", error.what());
        if (!is_agreed(error)) abort_job(exit_user);
        return exit_user;
    }
}

/// What befalls a rank, by its own hand so that the place is exact.
void suffer(const std::string& how) {
    std::this_thread::sleep_for(std::chrono::milliseconds(600));  // the others hear where it is
    if (how == "killed") std::raise(SIGKILL);
    if (how == "stopped") std::raise(SIGSTOP);
    if (how == "stuck") std::this_thread::sleep_for(std::chrono::hours(1));
    if (how == "paused") std::this_thread::sleep_for(std::chrono::seconds(4));  // lives, and comes back
    if (how == "error") system_error("only here");
}

/// Three updates; in the second, rank 1 suffers `how` at the place `where`.
void train(const std::string& how, const std::string& where, Communicator& communicator) {
    std::vector<float> values(3'000'000, 1.0F);  // more than MPI sends before the other side asks for it
    for (int update = 1; update <= 3; ++update) {
        const auto at = [&](const std::string& place) {
            if (update == 2 && communicator.rank() == 1 && place == where) suffer(how);
        };
        communicator.activity().enter(fmt::format("update {}", update));
        communicator.activity().enter_part("backward");
        at("backward");
        Pending sum = communicator.all_reduce_sum(BufferView::of(values));
        at("reduce");
        sum.wait();
        communicator.activity().enter_part("norm");
        at("norm");
        communicator.all_reduce_max(1);
        communicator.activity().enter_part("gather");
        Pending gather = communicator.all_gather(PartedView::of(values, communicator.size()));
        at("gather");
        gather.wait();
    }
}

int watched(int* argc, char*** argv) {
    const std::string how = (*argv)[1];
    const std::string where = (*argv)[2];
    const std::string folder = (*argv)[3];
    using std::chrono::milliseconds;
    JobWatch watch({milliseconds(2000), milliseconds(how == "paused" ? 20'000 : 3000), milliseconds(2000)},
                   [](const std::string& message) { std::fprintf(stderr, "message: %s\n", message.c_str()); });
    const MpiEnvironment mpi(argc, argv);
    try {
        watch.expect_meeting(std::atoi(std::getenv("OMPI_COMM_WORLD_RANK")));
        if (where == "meeting" && std::string(std::getenv("OMPI_COMM_WORLD_RANK")) == "1") suffer(how);
        MpiCommunicator communicator;
        watch.watch(communicator);
        write_file_atomically(folder + "/pid-" + std::to_string(communicator.rank()), std::to_string(::getpid()));
        communicator.barrier();
        train(how, where, communicator);
        return 0;
    } catch (const std::exception& error) {
        watch.leave_after_failure(1);
        std::fprintf(stderr, "message: %s\n", error.what());
        abort_job(1);
    }
}

/// No handler between the error and MpiEnvironment, but one outside, so that the stack does unwind.
void unguarded(int* argc, char*** argv) {
    const MpiEnvironment mpi(argc, argv);
    MpiCommunicator communicator;
    work("alone", communicator);
}

int run(int argc, char** argv) {
    const std::string how = argc > 1 ? argv[1] : "";
    if (argc > 3) return watched(&argc, &argv);
    if (how == "unwinding") {
        try {
            unguarded(&argc, &argv);
        } catch (const std::exception&) {
        }
        return 0;
    }
    const auto launch = read_launch_environment(process_environment(), "here");
    const MpiEnvironment mpi(&argc, &argv);
    if (how == "launch") {
        MpiCommunicator communicator;
        const auto verified = verify_launch(
            launch, {communicator.rank(), communicator.size(), communicator.local_rank(), communicator.local_size()});
        const char* io = std::getenv("OMPI_MCA_io");
        std::printf("%s %d %d %d io=%s\n", launcher_name(verified.launcher).c_str(), verified.size,
                    verified.local_rank == communicator.local_rank(), verified.local_size.value_or(-1),
                    io == nullptr ? "" : io);
        return 0;
    }
    return guarded(how);
}

}  // namespace
}  // namespace strata::dist

int main(int argc, char** argv) {
    return strata::dist::run(argc, argv);
}
