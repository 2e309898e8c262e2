#include "dist/mpi_environment.h"

#include <mpi.h>

#include <cstdlib>
#include <exception>

#include "core/error.h"

namespace strata::dist {

MpiEnvironment::MpiEnvironment(int* argc, char*** argv) : exceptions_(std::uncaught_exceptions()) {
    int running = 0;
    MPI_Initialized(&running);
    if (running != 0) return;
    // Not overwritten: who set it knows why.
    ::setenv("OMPI_MCA_io", "^ompio", 0);
    // Without mpirun, Open MPI would start a daemon of its own, for processes that nobody will spawn.
    ::setenv("OMPI_MCA_ess_singleton_isolated", "1", 0);
    int provided = 0;
    if (MPI_Init_thread(argc, argv, MPI_THREAD_MULTIPLE, &provided) != MPI_SUCCESS)
        system_error("MPI could not be initialised");
    owns_ = true;
    if (provided < MPI_THREAD_FUNNELED) {
        MPI_Finalize();
        owns_ = false;
        system_error("this MPI library was built without any support of threads (MPI_THREAD_FUNNELED)");
    }
}

MpiEnvironment::~MpiEnvironment() {
    if (!owns_) return;
    if (std::uncaught_exceptions() > exceptions_) abort_job(1);
    MPI_Finalize();
}

bool threads_may_communicate() {
    int provided = MPI_THREAD_SINGLE;
    MPI_Query_thread(&provided);
    return provided == MPI_THREAD_MULTIPLE;
}

void abort_job(int exit_code) {
    int running = 0;
    int over = 0;
    MPI_Initialized(&running);
    MPI_Finalized(&over);
    if (running != 0 && over == 0) MPI_Abort(MPI_COMM_WORLD, exit_code);
    std::_Exit(exit_code);
}

}  // namespace strata::dist
