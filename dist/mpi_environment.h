// MPI's life within the process: initialised once, finalised once, or aborted.
#pragma once

namespace strata::dist {

/// Initialises MPI, asking for MPI_THREAD_MULTIPLE, and finalises it when it goes. Make one in main(), before anything
/// that talks, and outside of the try block: if it goes while an exception passes, the other ranks may be waiting for
/// this one, so it aborts the job instead of finalising.
///
/// Before MPI_Init it sets OMPI_MCA_io=^ompio unless the user chose an `io` module: several releases of Open MPI's own
/// module have written corrupt parallel HDF5 files; without it Open MPI takes ROMIO.
///
/// Where MPI runs already (a test's main, an embedding program), it only uses it.
/// Throws SystemError when MPI knows of no threads at all.
class MpiEnvironment {
  public:
    MpiEnvironment(int* argc, char*** argv);
    ~MpiEnvironment();
    MpiEnvironment(const MpiEnvironment&) = delete;
    MpiEnvironment& operator=(const MpiEnvironment&) = delete;

  private:
    bool owns_ = false;
    int exceptions_ = 0;
};

/// Whether MPI lets threads of one process talk at the same time, which saving while training needs.
bool threads_may_communicate();

/// Ends every rank of the job at once, with this exit code. For an error that the other ranks do not know of: they may
/// be inside a collective and would wait for ever. Without MPI it ends the process.
[[noreturn]] void abort_job(int exit_code);

}  // namespace strata::dist
