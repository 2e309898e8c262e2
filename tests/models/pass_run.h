// One run of a pass (models/cuda_pass.h): its grids walked on the host, or launched on a GPU and fetched home.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <ostream>
#include <random>
#include <string>
#include <vector>

#include "models/cuda_pass.h"
#include "models/vectors.h"
#include "optim/cuda_handles.h"
#include "optim/device.h"
#include "tests/support/grid_walk.h"

namespace strata::models::testing {

enum class Form { host_walk, cuda };

inline void PrintTo(Form form, std::ostream* out) {
    *out << (form == Form::cuda ? "cuda" : "host_walk");
}

/// Tests of both forms.
class OfBothForms : public ::testing::TestWithParam<Form> {
  protected:
    void SetUp() override {
        if (GetParam() == Form::host_walk) return;
        if (!optim::cuda_built()) GTEST_SKIP() << "on CUDA: built without nvcc";
        if (optim::device_count() == 0) GTEST_SKIP() << "on CUDA: no GPU here";
    }
};

#ifdef STRATA_WITH_CUDA
/// Bytes on the device with those of the host in them.
class DeviceTwin {
  public:
    DeviceTwin(void* host, std::size_t bytes) : host_(host), bytes_(bytes) {
        device_ = memory_.at_least(bytes_ + 1);  // none for no bytes, else
        optim::copy_bytes(device_, host_, bytes_, nullptr);
    }
    void* data() const { return device_; }
    /// To the host, when all launches are done.
    void fetch() const {
        optim::copy_bytes(host_, device_, bytes_, nullptr);
        optim::wait_for(nullptr);
    }

  private:
    void* host_;
    std::byte* device_ = nullptr;
    std::size_t bytes_;
    optim::DeviceMemory memory_;
};
#endif

/// `size` elements of T, the first of them `phase` elements past a 16-byte border, in memory that ends with the last.
template <typename T>
class Array {
  public:
    explicit Array(std::size_t size, std::size_t phase = 0) : phase_(phase), memory_(size + phase) {}

    static Array random(std::size_t size, std::size_t phase, unsigned seed, double deviation = 1.0, double mean = 0.0) {
        Array array(size, phase);
        std::mt19937 generator(seed);
        std::normal_distribution<double> normal(mean, deviation);
        for (std::size_t i = 0; i < size; ++i) narrow(static_cast<float>(normal(generator)), array.data()[i]);
        return array;
    }

    T* data() { return memory_.data() + phase_; }
    double operator[](std::size_t i) const { return widen(memory_[phase_ + i]); }
    std::size_t size() const { return memory_.size() - phase_; }
    std::size_t phase() const { return phase_; }
    void* memory() { return memory_.data(); }
    std::size_t bytes() const { return memory_.size() * sizeof(T); }
    bool same_bits(const Array& other) const {
        return bytes() == other.bytes() &&
               (bytes() == 0 || std::memcmp(memory_.data(), other.memory_.data(), bytes()) == 0);
    }

  private:
    std::size_t phase_;
    std::vector<T> memory_;
};

class PassRun {
  public:
    explicit PassRun(Form form, testing_support::ThreadOrder order = testing_support::ThreadOrder::ascending)
        : form_(form), order_(order) {}

    /// Where the pass finds it.
    template <typename T>
    T* operator()(Array<T>& array) {
        if (form_ == Form::host_walk) return array.data();
        return static_cast<T*>(on_device(array.memory(), array.bytes())) + array.phase();
    }
    template <typename T>
    T* operator()(std::vector<T>& values) {
        if (form_ == Form::host_walk) return values.data();
        return static_cast<T*>(on_device(values.data(), values.size() * sizeof(T)));
    }

    template <typename Pass>
    void run(const Pass& pass) {
        if (form_ == Form::host_walk) {
            for_launches(pass, [&](const auto& body) { testing_support::walk_grid(body, order_); });
            return;
        }
        run_cuda_pass(pass, CudaQueue{});
#ifdef STRATA_WITH_CUDA
        for (const auto& twin : twins_) twin->fetch();
#endif
    }

  private:
    void* on_device([[maybe_unused]] void* host, [[maybe_unused]] std::size_t bytes) {
#ifdef STRATA_WITH_CUDA
        twins_.push_back(std::make_unique<DeviceTwin>(host, bytes));
        return twins_.back()->data();
#else
        return nullptr;
#endif
    }

    Form form_;
    testing_support::ThreadOrder order_;
#ifdef STRATA_WITH_CUDA
    std::vector<std::unique_ptr<DeviceTwin>> twins_;
#endif
};

/// What rounding to T costs, relative: half of the last place.
template <typename T>
constexpr double rounding = 0.0;
template <>
inline constexpr double rounding<float> = 0x1p-24;
template <>
inline constexpr double rounding<Bf16> = 0x1p-8;
template <>
inline constexpr double rounding<Fp16> = 0x1p-11;

/// Calls check(T{}) for the three types.
template <typename Check>
void for_all_types(const Check& check) {
    {
        SCOPED_TRACE("fp32");
        check(float{});
    }
    {
        SCOPED_TRACE("bf16");
        check(Bf16{});
    }
    SCOPED_TRACE("fp16");
    check(Fp16{});
}

/// Within `scale` times what fp32 arithmetic loses, and the last rounding.
template <typename T>
void expect_close(const Array<T>& got, const std::vector<double>& expected, const std::vector<double>& scale,
                  const std::string& what) {
    ASSERT_EQ(got.size(), expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i) {
        const double smallest = 0x1p-25;  // half of fp16's smallest step
        const double allowed = 1.01 * rounding<T> * std::abs(expected[i]) + 4e-7 * scale[i] + smallest;
        ASSERT_NEAR(got[i], expected[i], allowed) << what << " " << i;
    }
}

inline std::string form_name(const ::testing::TestParamInfo<Form>& info) {
    return info.param == Form::cuda ? "cuda" : "host_walk";
}

}  // namespace strata::models::testing
