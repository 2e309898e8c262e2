// Communicators over NCCL, with its library and GPU real or not.
#pragma once

#include "backends.h"
#include "dist/nccl_communicator.h"

namespace strata::dist::testing {

class NcclBackend final : public Backend {
  public:
    NcclBackend(std::shared_ptr<const NcclLibrary> nccl, NcclOptions options);
    NcclCommunicator& communicator() override { return *communicator_; }
    Memory memory() const override { return Memory::cuda; }
    void* allocate(std::size_t bytes) override;
    void free(void* memory) override;
    void copy_to(void* memory, const void* host, std::size_t bytes) override;
    void copy_from(void* host, const void* memory, std::size_t bytes) override;

  private:
    std::unique_ptr<NcclCommunicator> communicator_;
};

/// As NCCL adds, and in the order of ranks.
std::vector<BackendCase> nccl_cases(const std::function<std::shared_ptr<const NcclLibrary>()>& library, int device,
                                    const std::string& missing);

}  // namespace strata::dist::testing
