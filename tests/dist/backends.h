// The communicators that must all keep the interface's promises (communicators_test.cpp), each with the memory it
// reaches. A program of tests defines backends(): over MPI, over NCCL's stand-in, over real GPUs.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "dist/communicator.h"

namespace strata::dist::testing {

class Backend {
  public:
    virtual ~Backend() = default;
    virtual Communicator& communicator() = 0;
    virtual Memory memory() const = 0;
    /// Memory that the communicator reaches. On a device copies follow the compute stream: to() does not wait, from()
    /// does.
    virtual void* allocate(std::size_t bytes) = 0;
    virtual void free(void* memory) = 0;
    virtual void copy_to(void* memory, const void* host, std::size_t bytes) = 0;
    virtual void copy_from(void* host, const void* memory, std::size_t bytes) = 0;
};

struct BackendCase {
    std::string name;
    std::function<std::unique_ptr<Backend>()> make;
    bool ordered = true;  ///< sums have the order of ranks
    std::string missing;  ///< why it cannot run here
};

std::vector<BackendCase> backends();

/// Values in the backend's memory.
template <typename Value>
class Values {
  public:
    Values(Backend& backend, std::vector<Value> values)
        : backend_(&backend), host_(std::move(values)), data_(backend.allocate(host_.size() * sizeof(Value))) {
        backend.copy_to(data_, host_.data(), host_.size() * sizeof(Value));
    }
    ~Values() {
        if (data_ != nullptr) backend_->free(data_);
    }
    Values(Values&& other) noexcept
        : backend_(other.backend_), host_(std::move(other.host_)), data_(std::exchange(other.data_, nullptr)) {}
    Values& operator=(Values&&) = delete;

    Value* data() const { return static_cast<Value*>(data_); }
    std::int64_t size() const { return static_cast<std::int64_t>(host_.size()); }
    BufferView view(ElementType type) const { return {data_, size(), type, backend_->memory()}; }
    PartedView parts(std::int64_t count, std::int64_t stride, ElementType type) const {
        return {data_, count, stride, type, backend_->memory()};
    }
    const std::vector<Value>& values() {
        backend_->copy_from(host_.data(), data_, host_.size() * sizeof(Value));
        return host_;
    }

  private:
    Backend* backend_;
    std::vector<Value> host_;
    void* data_;
};

}  // namespace strata::dist::testing
