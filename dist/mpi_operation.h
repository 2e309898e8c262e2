// What operations over MPI are made of: who speaks in errors, requests under way, scratch memory that is kept.
#pragma once

#include <mpi.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "dist/communicator.h"

namespace strata::dist {

MPI_Datatype mpi_type_of(ElementType type);

/// Whether one of an operation's pieces travels where it lies, in a message of its own: the only one, and one whose
/// part of a rank is so large that a copy would cost more. Others are packed into messages.
inline bool travels_alone(std::size_t pieces, std::int64_t part_bytes) {
    return pieces == 1 || part_bytes >= std::int64_t{256} << 10;
}

/// What MPI says of the status of a call.
std::string mpi_error_text(int status);

/// Who speaks in an error message.
struct Speaker {
    int rank = 0;
    std::string host;

    /// Throws SystemError with MPI's own words unless `status` is MPI_SUCCESS.
    void check(int status, const char* operation) const;
};

/// Waits for every request, also after one has failed: MPI uses the buffers until the last one is done. Empties the
/// list and returns the first error. One by one, because MPI_Waitall would say only that some status holds an error.
int wait_for_all(std::vector<MPI_Request>& requests);

/// Buffers for operations under way; kept, because their sizes are the same every step.
class ScratchPool {
  public:
    std::vector<std::byte> take(std::size_t bytes);
    void give_back(std::vector<std::byte> buffer);

  private:
    std::mutex mutex_;
    std::vector<std::vector<std::byte>> free_;
};

/// A buffer on loan from its pool.
class Scratch {
  public:
    Scratch(std::shared_ptr<ScratchPool> pool, std::size_t bytes);
    ~Scratch();
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    std::byte* data() { return buffer_.data(); }

  private:
    std::shared_ptr<ScratchPool> pool_;
    std::vector<std::byte> buffer_;
};

/// Collective calls under way, and what to do with the data once they are done.
class MpiOperation : public Operation {
  public:
    MpiOperation(Speaker speaker, const char* name) : speaker_(std::move(speaker)), name_(name) {}
    // Finds requests only where a later piece could not be started.
    ~MpiOperation() override { settle(); }
    MpiOperation(const MpiOperation&) = delete;
    MpiOperation& operator=(const MpiOperation&) = delete;
    void add(MPI_Request request) { requests_.push_back(request); }
    void wait() override {
        speaker_.check(settle(), name_);
        finish();
    }
    /// Asking is what moves MPI on; the requests stay for wait(), errors and all.
    void progress() override {
        int done = 0;
        for (MPI_Request& request : requests_) MPI_Request_get_status(request, &done, MPI_STATUS_IGNORE);
    }
    const Speaker& speaker() const { return speaker_; }

  protected:
    virtual void finish() {}
    int settle() { return wait_for_all(requests_); }

  private:
    Speaker speaker_;
    const char* name_;
    std::vector<MPI_Request> requests_;
};

}  // namespace strata::dist
