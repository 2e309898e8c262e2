#include "optim/pinned_staging.h"

namespace strata::optim {

PinnedStaging::PinnedStaging(std::size_t bytes, std::size_t blocks) : bytes_(bytes), blocks_(blocks) {
    for (Block& block : blocks_)
        block.memory = {static_cast<std::byte*>(allocate_pinned(bytes)),
                        [](std::byte* memory) { free_pinned(memory); }};
}

std::byte* PinnedStaging::next() {
    current_ = (current_ + 1) % blocks_.size();
    Block& block = blocks_[current_];
    if (block.sent && !block.copied.passed()) block.copied.wait();
    return block.memory.get();
}

void PinnedStaging::send(void* to, CUstream_st* stream) {
    Block& block = blocks_[current_];
    copy_bytes(to, block.memory.get(), bytes_, stream);
    block.copied.record(stream);
    block.sent = true;
}

}  // namespace strata::optim
