// The communicators over MPI. With at most 7 elements to a call every operation is split.
#include <climits>
#include <cstdlib>
#include <cstring>

#include "backends.h"
#include "dist/mpi_communicator.h"

namespace strata::dist::testing {
namespace {

class MpiBackend final : public Backend {
  public:
    explicit MpiBackend(std::int64_t max_count) : communicator_(MPI_COMM_WORLD, max_count) {}
    Communicator& communicator() override { return communicator_; }
    Memory memory() const override { return Memory::host; }
    void* allocate(std::size_t bytes) override { return std::malloc(bytes + 1); }
    void free(void* memory) override { std::free(memory); }
    void copy_to(void* memory, const void* host, std::size_t bytes) override {
        if (bytes > 0) std::memcpy(memory, host, bytes);
    }
    void copy_from(void* host, const void* memory, std::size_t bytes) override { copy_to(host, memory, bytes); }

  private:
    MpiCommunicator communicator_;
};

}  // namespace

std::vector<BackendCase> backends() {
    return {{.name = "MpiSplit", .make = [] { return std::make_unique<MpiBackend>(7); }, .missing = {}},
            {.name = "Mpi", .make = [] { return std::make_unique<MpiBackend>(INT_MAX); }, .missing = {}}};
}

}  // namespace strata::dist::testing
