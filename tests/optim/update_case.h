// Memory for one fused update: random content, cut into spans of a few groups, with room to see stray writes.
#pragma once

#include "optim/fused_update.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <random>
#include <utility>
#include <vector>

namespace strata::optim::testing {

/// Values on a 64-byte border, as real buffers are.
template <typename Value>
class Aligned {
  public:
    explicit Aligned(std::size_t size) : values_(size + per_line) {
        const auto past = reinterpret_cast<std::uintptr_t>(values_.data()) / sizeof(Value) % per_line;
        skip_ = (per_line - past) % per_line;
        size_ = size;
    }
    Aligned(const Aligned& other) : Aligned(other.size_) { std::memcpy(data(), other.data(), size_ * sizeof(Value)); }
    Aligned& operator=(const Aligned&) = delete;
    Value* data() { return values_.data() + skip_; }
    const Value* data() const { return values_.data() + skip_; }
    std::size_t size() const { return size_; }
    bool same_bits(const Aligned& other) const {
        return size_ == other.size_ && std::memcmp(data(), other.data(), size_ * sizeof(Value)) == 0;
    }

  private:
    static constexpr std::size_t per_line = 64 / sizeof(Value);
    std::vector<Value> values_;
    std::size_t skip_ = 0;
    std::size_t size_ = 0;
};
using AlignedFloats = Aligned<float>;
using AlignedHalves = Aligned<std::uint16_t>;

/// What a cut is: the elements between this border and the next are of one group and decay or not.
struct Piece {
    std::int64_t elements;
    std::int32_t group;
    bool decays;
};

struct UpdateCase {
    /// In `its_type`: gradients in 16 bits, and a place for the rounded parameters; `param` are their masters, where
    /// it `has_masters`.
    UpdateCase(std::vector<Piece> cut, std::int64_t start, unsigned seed, ComputeType its_type = ComputeType::fp32,
               bool has_masters = true)
        : pieces(std::move(cut)),
          offset(start),
          type(its_type),
          masters(has_masters),
          param(length()),
          grad(length()),
          first(length()),
          second(length()),
          rounded(length()),
          grad16(length()) {
        std::mt19937 engine(seed);
        std::normal_distribution<float> normal;
        for (std::size_t i = 0; i < param.size(); ++i) {
            param.data()[i] = normal(engine);
            grad.data()[i] = normal(engine) * 0.1F;
            first.data()[i] = normal(engine) * 0.01F;
            second.data()[i] = normal(engine) * normal(engine) * 0.01F;
            if (second.data()[i] < 0.0F) second.data()[i] = -second.data()[i];
            if (type != ComputeType::fp32) grad16.data()[i] = narrow(grad.data()[i], type);
            if (!masters) rounded.data()[i] = narrow(param.data()[i], type);
        }
    }

    static constexpr std::int64_t margin = 8;  // beyond the last span, never to be written

    std::size_t length() const {
        std::int64_t sum = offset + margin;
        for (const Piece& piece : pieces) sum += piece.elements;
        return static_cast<std::size_t>(sum);
    }

    /// Each piece is a tensor. `cut_every`: no span longer than this, to cut the same content otherwise.
    std::vector<UpdateSpan> spans(std::int64_t cut_every = std::int64_t{1} << 40) {
        std::vector<UpdateSpan> out;
        std::int64_t at = offset;
        std::int32_t tensor = -1;
        for (const Piece& piece : pieces) {
            ++tensor;
            for (std::int64_t done = 0; done < piece.elements; done += cut_every) {
                const std::int64_t take = std::min(cut_every, piece.elements - done);
                out.push_back({param.data() + at, grad.data() + at, first.data() + at, second.data() + at, take,
                               piece.group, piece.decays, tensor});
                if (type != ComputeType::fp32) {
                    out.back().grad = nullptr;
                    out.back().type = type;
                    out.back().rounded = rounded.data() + at;
                    out.back().grad16 = grad16.data() + at;
                }
                if (!masters) {
                    out.back().param = nullptr;
                    out.back().parameter = 0x1234567890ABCDEFULL * static_cast<std::uint64_t>(tensor + 1);
                    out.back().first = done + 11;  // as if the tensor had begun in another slice
                }
                at += take;
            }
        }
        return out;
    }

    bool same_bits(const UpdateCase& other) const {
        return param.same_bits(other.param) && grad.same_bits(other.grad) && first.same_bits(other.first) &&
               second.same_bits(other.second) && rounded.same_bits(other.rounded) && grad16.same_bits(other.grad16);
    }

    std::vector<Piece> pieces;
    std::int64_t offset;
    ComputeType type;
    bool masters;
    AlignedFloats param, grad, first, second;
    AlignedHalves rounded, grad16;
};

/// Three groups whose every hyperparameter differs, whatever the optimizer.
inline std::vector<GroupHyper> three_hypers() {
    std::vector<GroupHyper> hypers(3);
    for (std::size_t g = 0; g < 3; ++g) {
        const float k = static_cast<float>(g) + 1.0F;
        GroupHyper& h = hypers[g];
        h.lr = 1e-3F * k;
        h.weight_decay = 0.01F * k;
        h.step_size = h.lr * 2.5F;
        h.decay_factor = 1.0F - 0.001F * k;
        h.one_minus_beta1 = 0.1F * k;
        h.beta2 = 0.99F;
        h.one_minus_beta2 = 0.01F;
        h.bias_correction1 = 0.2F * k;
        h.bias_correction2_sqrt = 0.3F * k;
        h.epsilon = 1e-8F;
        h.momentum = g == 0 ? 0.0F : 0.8F;
        h.nesterov = g == 2 ? 1 : 0;
        h.rounding = 0xFEDCBA0987654321ULL;
    }
    return hypers;
}

}  // namespace strata::optim::testing
