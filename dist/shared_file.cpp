#include "dist/shared_file.h"

#include <fmt/format.h>

#include "core/error.h"
#include "dist/mpi_operation.h"

namespace strata::dist {

SharedFile::SharedFile(MpiCommunicator& communicator, const std::filesystem::path& path) : path_(path) {
    const int status = MPI_File_open(communicator.handle(), path.c_str(), MPI_MODE_WRONLY, MPI_INFO_NULL, &file_);
    if (status != MPI_SUCCESS)
        system_error("{}: cannot be opened through MPI-IO: {}", path.string(), mpi_error_text(status));
}

SharedFile::~SharedFile() {
    if (file_ != MPI_FILE_NULL) MPI_File_close(&file_);
}

int SharedFile::write(std::uint64_t offset, std::span<const float> values) {
    const auto bytes = static_cast<int>(values.size_bytes());
    STRATA_CHECK(values.size_bytes() == static_cast<std::size_t>(bytes), "{} values at once", values.size());
    MPI_Status status;
    const int outcome =
        MPI_File_write_at(file_, static_cast<MPI_Offset>(offset), values.data(), bytes, MPI_BYTE, &status);
    if (outcome != MPI_SUCCESS) return outcome;
    int written = 0;
    MPI_Get_count(&status, MPI_BYTE, &written);
    return written == bytes ? MPI_SUCCESS : MPI_ERR_IO;
}

void SharedFile::close() {
    const int status = MPI_File_close(&file_);
    if (status != MPI_SUCCESS) system_error("{}: cannot be closed: {}", path_.string(), mpi_error_text(status));
}

bool is_out_of_room(int status) {
    int kind = MPI_SUCCESS;
    MPI_Error_class(status, &kind);
    return kind == MPI_ERR_NO_SPACE || kind == MPI_ERR_QUOTA;
}

}  // namespace strata::dist
