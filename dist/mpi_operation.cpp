#include "dist/mpi_operation.h"

#include <utility>

#include "core/error.h"

namespace strata::dist {

std::string mpi_error_text(int status) {
    char text[MPI_MAX_ERROR_STRING] = "";
    int length = 0;
    MPI_Error_string(status, text, &length);
    return {text, static_cast<std::size_t>(length)};
}

MPI_Datatype mpi_type_of(ElementType type) {
    switch (type) {
        case ElementType::float32:
            return MPI_FLOAT;
        case ElementType::float64:
            return MPI_DOUBLE;
        case ElementType::bfloat16:
        case ElementType::float16:
            return MPI_UINT16_T;  // moved; mpi_reduction.h adds
    }
    STRATA_CHECK(false, "unknown element type");
}

void Speaker::check(int status, const char* operation) const {
    if (status != MPI_SUCCESS)
        system_error("rank {} on {}: {} failed: {}", rank, host, operation, mpi_error_text(status));
}

int wait_for_all(std::vector<MPI_Request>& requests) {
    int first_error = MPI_SUCCESS;
    for (MPI_Request& request : requests) {
        const int status = MPI_Wait(&request, MPI_STATUS_IGNORE);
        if (first_error == MPI_SUCCESS) first_error = status;
    }
    requests.clear();
    return first_error;
}

std::vector<std::byte> ScratchPool::take(std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    std::vector<std::byte> buffer;
    if (!free_.empty()) {
        buffer = std::move(free_.back());
        free_.pop_back();
    }
    buffer.resize(bytes);
    return buffer;
}

void ScratchPool::give_back(std::vector<std::byte> buffer) {
    const std::lock_guard lock(mutex_);
    free_.push_back(std::move(buffer));
}

Scratch::Scratch(std::shared_ptr<ScratchPool> pool, std::size_t bytes)
    : pool_(std::move(pool)), buffer_(pool_->take(bytes)) {}

Scratch::~Scratch() {
    pool_->give_back(std::move(buffer_));
}

}  // namespace strata::dist
