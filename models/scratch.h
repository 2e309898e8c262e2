// Memory of one task of a kernel, aligned to cache lines. No torch.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

namespace strata::models {

class Scratch {
  public:
    /// Of 4-byte words.
    explicit Scratch(std::int64_t words)
        : memory_(std::aligned_alloc(64, (static_cast<std::size_t>(words) * 4 + 63) / 64 * 64)) {
        if (!memory_) throw std::bad_alloc();
    }
    float* floats() const { return static_cast<float*>(memory_.get()); }
    std::int32_t* words() const { return static_cast<std::int32_t*>(memory_.get()); }

  private:
    struct Free {
        void operator()(void* memory) const { std::free(memory); }
    };
    std::unique_ptr<void, Free> memory_;
};

}  // namespace strata::models
