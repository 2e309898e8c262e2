#include "models/residual_norm.h"

#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

#include <utility>

#include "core/error.h"
#include "models/column_sums.h"
#include "models/cuda_queue.h"
#include "models/dropout_rows.h"
#include "models/kernel_data.h"
#include "models/norm_grid.h"
#include "models/norm_kernel.h"

namespace strata::models {
namespace {

/// What backward needs to make the mask again.
struct Mask : torch::CustomClassHolder {
    LayoutPointer layout;
    std::optional<DropoutSite> site;

    std::optional<DropoutRows> rows() const {
        return site ? std::optional<DropoutRows>(std::in_place, *layout, *site) : std::nullopt;
    }
    DropoutPlaces places(torch::Device device) const {
        return site ? dropout_places(*layout, *site, device) : DropoutPlaces{};
    }
};

/// The dropout of one row, to be pointed at.
struct RowMask {
    RowMask(const std::optional<DropoutRows>& rows, std::int64_t row) : drops(rows.has_value()) {
        if (drops) dropout = (*rows)[row];
    }
    const DropoutRow* pointer() const { return drops ? &dropout : nullptr; }

    bool drops;
    DropoutRow dropout{};
};

template <typename T>
const T* data_or_null(const torch::Tensor& tensor) {
    return tensor.defined() ? data_of<T>(tensor) : nullptr;
}
template <typename T>
T* mutable_data_or_null(const torch::Tensor& tensor) {
    return tensor.defined() ? mutable_data_of<T>(tensor) : nullptr;
}

/// Writes `s` (if there is an x) and y; returns mean and inverse deviation of each row, [T, 2].
template <typename T>
torch::Tensor forward_rows(const torch::Tensor& x, const torch::Tensor& bias, const torch::Tensor& residual,
                           const NormWeights& weights, const Mask& mask, const torch::Tensor& s,
                           const torch::Tensor& y) {
    const std::int64_t width = residual.size(1);
    torch::Tensor moments = torch::empty({residual.size(0), 2}, torch::kFloat32);
    const T *from = data_or_null<T>(x), *plus = data_or_null<T>(bias), *base = data_of<T>(residual);
    const T *gamma = data_of<T>(weights.gamma), *beta = data_of<T>(weights.beta);
    T *sum = x.defined() ? mutable_data_of<T>(s) : nullptr, *to = mutable_data_of<T>(y);
    float* moment = moments.mutable_data_ptr<float>();
    const auto epsilon = static_cast<float>(weights.epsilon);
    const std::optional<DropoutRows> dropouts = mask.rows();
    parallel_rows(residual.size(0), width, [&](std::int64_t i) {
        const RowMask row_mask(dropouts, i);
        const std::int64_t at = i * width;
        NormRow<T> row{width, row_mask.pointer(), 0, 0};
        norm_row(row, from != nullptr ? from + at : nullptr, plus, base + at, epsilon, gamma, beta,
                 sum != nullptr ? sum + at : nullptr, to + at);
        moment[2 * i] = row.mean;
        moment[2 * i + 1] = row.inverse_deviation;
    });
    return moments;
}

torch::Tensor forward_on_gpu(const torch::Tensor& x, const torch::Tensor& bias, const torch::Tensor& residual,
                             const NormWeights& weights, const Mask& mask, const torch::Tensor& s,
                             const torch::Tensor& y) {
    torch::Tensor moments = torch::empty({residual.size(0), 2}, residual.options().dtype(torch::kFloat32));
    for_cuda_type(residual, [&](auto type) {
        using T = decltype(type);
        NormForward<T> pass{};
        pass.rows = residual.size(0);
        pass.width = residual.size(1);
        pass.x = data_or_null<T>(x);
        pass.bias = data_or_null<T>(bias);
        pass.residual = data_of<T>(residual);
        pass.gamma = data_of<T>(weights.gamma);
        pass.beta = data_of<T>(weights.beta);
        pass.s = x.defined() ? mutable_data_of<T>(s) : nullptr;
        pass.y = mutable_data_of<T>(y);
        pass.moments = moments.mutable_data_ptr<float>();
        pass.epsilon = static_cast<float>(weights.epsilon);
        pass.dropout = mask.places(residual.device());
        run_cuda_pass(pass, cuda_queue_of(residual));
    });
    return moments;
}

/// What backward reads and writes; grad_x is undefined where nobody wants it, and so is then the bias.
struct BackwardTensors {
    torch::Tensor grad, s, gamma, beta, bias, moments, grad_residual, grad_x;
};

/// Each undefined where it went to its place, or is not wanted.
struct ParameterGradients {
    torch::Tensor gamma, beta, bias;
};

ParameterGradients backward_on_gpu(const BackwardTensors& on, const Mask& mask) {
    const std::int64_t rows = on.s.size(0), width = on.s.size(1), sums = on.grad_x.defined() ? 3 : 2;
    const torch::Tensor means =
        torch::empty({rows * static_cast<std::int64_t>(sizeof(NormRowMeans))}, on.s.options().dtype(torch::kUInt8));
    const torch::Tensor tiles = tile_room(on.s, sums);
    torch::Tensor total = torch::empty({sums * width}, on.gamma.options());
    for_cuda_type(on.s, [&](auto type) {
        using T = decltype(type);
        NormBackward<T> pass{};
        pass.rows = rows;
        pass.width = width;
        pass.grad_y = data_of<T>(on.grad);
        pass.s = data_of<T>(on.s);
        pass.gamma = data_of<T>(on.gamma);
        pass.moments = on.moments.const_data_ptr<float>();
        pass.grad_residual = mutable_data_of<T>(on.grad_residual);
        pass.grad_x = mutable_data_or_null<T>(on.grad_x);
        pass.dropout = mask.places(on.s.device());
        pass.means = static_cast<NormRowMeans*>(means.mutable_data_ptr());
        pass.tiles = tiles.mutable_data_ptr<float>();
        pass.sums_to = mutable_data_of<T>(total);
        run_cuda_pass(pass, cuda_queue_of(on.s));
    });
    const auto part = [&](std::int64_t i) { return i < sums ? total.narrow(0, i * width, width) : torch::Tensor(); };
    return {part(0), part(1), part(2)};
}

template <typename T>
void backward_rows(const torch::Tensor& grad, const torch::Tensor& s, const torch::Tensor& gamma,
                   const torch::Tensor& moments, const Mask& mask, const torch::Tensor& grad_residual,
                   const torch::Tensor& grad_x, ColumnSums& sums) {
    const std::int64_t width = s.size(1);
    const T *above = data_of<T>(grad), *sum = data_of<T>(s), *scale = data_of<T>(gamma);
    T *to_residual = mutable_data_of<T>(grad_residual), *to_x = grad_x.defined() ? mutable_data_of<T>(grad_x) : nullptr;
    const float* moment = moments.const_data_ptr<float>();
    const std::optional<DropoutRows> dropouts = mask.rows();
    sums.for_each_row([&](std::int64_t i, float* row_sums) {
        const RowMask row_mask(dropouts, i);
        const std::int64_t at = i * width;
        const NormRow<T> row{width, row_mask.pointer(), moment[2 * i], moment[2 * i + 1]};
        norm_backward_row(row, above + at, sum + at, scale, to_residual + at, to_x != nullptr ? to_x + at : nullptr,
                          {row_sums, row_sums + width, row_sums + 2 * width});
    });
}

ParameterGradients backward_on_cpu(const BackwardTensors& on, const Mask& mask) {
    const std::int64_t width = on.s.size(1);
    ColumnSums sums(on.s.size(0), 3 * width);
    for_kernel_type(on.s, [&](auto type) {
        backward_rows<decltype(type)>(on.grad, on.s, on.gamma, on.moments, mask, on.grad_residual, on.grad_x, sums);
    });
    return {sums.gradient_of(on.gamma), sums.gradient_of(on.beta, width),
            on.bias.defined() ? sums.gradient_of(on.bias, 2 * width) : torch::Tensor()};
}

class ResidualNorm : public torch::autograd::Function<ResidualNorm> {
  public:
    /// Without x and bias: the norm of the residual.
    static torch::Tensor forward(torch::autograd::AutogradContext* context, const std::optional<torch::Tensor>& x,
                                 const std::optional<torch::Tensor>& bias, const torch::Tensor& residual,
                                 const torch::Tensor& gamma, const torch::Tensor& beta, double epsilon,
                                 const c10::intrusive_ptr<Mask>& mask) {
        RECORD_USER_SCOPE("ResidualNorm");
        const torch::Tensor s = x ? torch::empty_like(residual) : residual;
        torch::Tensor y = torch::empty_like(residual);
        const torch::Tensor added = x.value_or(torch::Tensor()), plus = bias.value_or(torch::Tensor());
        const NormWeights weights{gamma, beta, epsilon};
        torch::Tensor moments;
        if (residual.is_cpu()) {
            for_kernel_type(residual, [&](auto type) {
                moments = forward_rows<decltype(type)>(added, plus, residual, weights, *mask, s, y);
            });
        } else {
            moments = forward_on_gpu(added, plus, residual, weights, *mask, s, y);
        }
        context->save_for_backward({s, gamma, beta, plus, moments});
        context->saved_data["mask"] = torch::IValue::make_capsule(mask);
        context->saved_data["adds"] = x.has_value();
        return y;
    }

    static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                   const torch::autograd::variable_list& grads) {
        const auto saved = context->get_saved_variables();
        const torch::Tensor& s = saved[0];
        const auto capsule = context->saved_data["mask"].toCapsule();
        const auto& mask = static_cast<const Mask&>(*capsule);
        const bool adds = context->saved_data["adds"].toBool();
        // Without dropout x's gradient is the residual's, but the bias's sums are wanted.
        const BackwardTensors on{grads[0].contiguous(),
                                 s,
                                 saved[1],
                                 saved[2],
                                 saved[3],
                                 saved[4],
                                 torch::empty_like(s),
                                 adds ? torch::empty_like(s) : torch::Tensor()};
        const ParameterGradients made = (s.is_cpu() ? backward_on_cpu : backward_on_gpu)(on, mask);
        return {on.grad_x, made.bias, on.grad_residual, made.gamma, made.beta, {}, {}};
    }
};

torch::Tensor apply(const std::optional<torch::Tensor>& x, const std::optional<torch::Tensor>& bias,
                    const torch::Tensor& residual, const NormWeights& weights, const LayoutPointer& layout,
                    const std::optional<DropoutSite>& dropout) {
    auto mask = c10::make_intrusive<Mask>();
    mask->layout = layout;
    if (drops(dropout)) mask->site = dropout;
    return ResidualNorm::apply(x, bias, residual.contiguous(), weights.gamma.contiguous(), weights.beta.contiguous(),
                               weights.epsilon, mask);
}

}  // namespace

torch::Tensor residual_norm(const torch::Tensor& x, const torch::Tensor& bias, const torch::Tensor& residual,
                            const NormWeights& weights, const LayoutPointer& layout,
                            const std::optional<DropoutSite>& dropout) {
    STRATA_CHECK(x.dim() == 2 && x.sizes() == residual.sizes() && x.size(0) == layout->rows(),
                 "x and residual must be [{} tokens, width]", layout->rows());
    if (widens(x)) {
        const NormWeights wide{widened(weights.gamma), widened(weights.beta), weights.epsilon};
        return residual_norm(widened(x), widened(bias), widened(residual), wide, layout, dropout).to(x.scalar_type());
    }
    if (has_kernel(x)) return apply(x.contiguous(), bias.contiguous(), residual, weights, layout, dropout);
    return packed_norm(residual + packed_dropout(x + bias, layout, dropout), weights);
}

torch::Tensor packed_norm(const torch::Tensor& x, const NormWeights& weights) {
    if (widens(x)) {
        return packed_norm(widened(x), {widened(weights.gamma), widened(weights.beta), weights.epsilon})
            .to(x.scalar_type());
    }
    if (has_kernel(x)) return apply(std::nullopt, std::nullopt, x, weights, nullptr, std::nullopt);
    return torch::layer_norm(x, {x.size(1)}, weights.gamma, weights.beta, weights.epsilon);
}

}  // namespace strata::models
