// A file that all ranks write through MPI-IO, each the bytes that are its own.
#pragma once

#include <mpi.h>

#include <cstdint>
#include <filesystem>
#include <span>

#include "dist/mpi_communicator.h"

namespace strata::dist {

class SharedFile {
  public:
    /// Of a file that is there. Collective. SystemError where it cannot be opened.
    SharedFile(MpiCommunicator& communicator, const std::filesystem::path& path);
    /// As close(), and says nothing of what fails.
    ~SharedFile();
    SharedFile(const SharedFile&) = delete;
    SharedFile& operator=(const SharedFile&) = delete;

    /// From byte `offset` on; less than 2 GiB. Returns MPI's status, an error also where fewer bytes were written.
    /// Other ranks are not concerned.
    int write(std::uint64_t offset, std::span<const float> values);

    /// Collective. SystemError where it fails.
    void close();

  private:
    std::filesystem::path path_;
    MPI_File file_ = MPI_FILE_NULL;
};

/// Whether a write has failed with this status for want of room.
bool is_out_of_room(int status);

}  // namespace strata::dist
