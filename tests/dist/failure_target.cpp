// A job in which one rank fails, as a program's main handles it (apps/strata/main.cpp does the same).
// Arguments: how it fails. See failure_test.cpp.
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>

#include "core/error.h"
#include "dist/agreement.h"
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

/// No handler between the error and MpiEnvironment, but one outside, so that the stack does unwind.
void unguarded(int* argc, char*** argv) {
    const MpiEnvironment mpi(argc, argv);
    MpiCommunicator communicator;
    work("alone", communicator);
}

int run(int argc, char** argv) {
    const std::string how = argc > 1 ? argv[1] : "";
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
