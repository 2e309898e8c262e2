// Whether what ranks write through MPI-IO is what other ranks read: found out before a run depends on it.
//
// Several releases of Open MPI's own module (OMPIO) have written damaged parallel HDF5 files, some only on some file
// systems. MpiEnvironment avoids that module, but the user may have chosen it, another MPI has another one, and a
// mounted folder may have caches that do not agree. A checkpoint would be found damaged when it is read back, an hour
// into the run; this finds it in the first second.
#pragma once

#include <filesystem>
#include <string>

#include "dist/mpi_communicator.h"

namespace strata::dist {

/// "ROMIO of Open MPI v4.1.4": what is behind MPI-IO in this process, as far as MPI tells.
std::string mpi_io_module();

/// "ext4 at /scratch": the type of the file system that holds `path`, and where it is mounted.
std::string file_system_of(const std::filesystem::path& path);

/// Writes a small state file into `directory` as a checkpoint's is written, with slices that lie on no round number
/// and ranks that have none, closes it, has every slice read by another rank (on another host where there is one) and
/// compared, and removes it. Collective. Where something is lost every rank throws the same SystemError, naming the
/// module, the file system and what to do. A full disk is a UserError.
void prove_parallel_io(MpiCommunicator& communicator, const std::filesystem::path& directory);

}  // namespace strata::dist
