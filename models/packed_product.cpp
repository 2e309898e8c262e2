#include "models/packed_product.h"

#include <ATen/record_function.h>

#include "models/kernel_data.h"
#include "models/parallel.h"
#include "models/scratch.h"

namespace strata::models {
namespace {

/// A matrix that the kernel reads in place or packs.
bool kernel_takes(const torch::Tensor& matrix) {
    return matrix.is_cpu() && matrix.scalar_type() == torch::kBFloat16 && matrix.is_contiguous() &&
           matrix.size(1) % 2 == 0;
}

/// What no kernel takes, as LibTorch is to multiply it: 16 bits on a CPU in fp32, for it multiplies fp16 by plain
/// loops, and bf16 by oneDNN, which generates code for each size, or by those loops.
torch::Tensor for_libtorch(const torch::Tensor& matrix) {
    const bool slow = matrix.defined() && matrix.is_cpu() && c10::isReducedFloatingType(matrix.scalar_type());
    return slow ? widened(matrix) : matrix;
}

template <typename... Matrices>
bool multiplies(const ProductKernel* kernel, const Matrices&... matrices) {
    return kernel != nullptr && (kernel_takes(matrices) && ...);
}

void run(const ProductKernel& kernel, const Product& product) {
    std::int64_t inner = 0;
    for (int i = 0; i < product.term_count; ++i) inner += product.terms[i].inner;
    parallel_for(0, kernel.parts(product), 1, [&](std::int64_t begin, std::int64_t end) {
        const Scratch scratch(kernel.scratch(inner));
        kernel.run(product, begin, end, scratch.words());
    });
}

/// All but the terms.
Product product_into(const torch::Tensor& out) {
    Product product{};
    product.rows = out.size(0);
    product.columns = product.out_stride = out.size(1);
    if (out.scalar_type() == torch::kBFloat16) {
        product.out = mutable_data_of<Bf16>(out);
    } else {
        product.wide_out = mutable_data_of<float>(out);
    }
    return product;
}

ProductLeft left_of(const torch::Tensor& matrix) {
    return left_in_place(data_of<Bf16>(matrix), matrix.size(1));
}

/// out += gradᵀ x, or = it.
void run_weight_product(const ProductKernel& kernel, const torch::Tensor& grad, const torch::Tensor& x,
                        const torch::Tensor& out, bool adds) {
    RECORD_USER_SCOPE("WeightProduct");
    const std::int64_t inner = grad.size(0), rows = grad.size(1);
    const torch::Tensor packed = torch::empty({kernel.packed_left_size(rows, inner)}, grad.options());
    const Bf16* const from = data_of<Bf16>(grad);
    Bf16* const to = mutable_data_of<Bf16>(packed);
    parallel_for(0, kernel.packed_left_parts(rows), 1, [&](std::int64_t begin, std::int64_t end) {
        kernel.pack_left(from, rows, rows, inner, to, begin, end);
    });
    Product product = product_into(out);
    product.terms[0] = {packed_left(to), {data_of<Bf16>(x), x.size(1), false}, inner};
    product.term_count = 1;
    product.adds = adds;
    run(kernel, product);
}

}  // namespace

torch::Tensor forward_product(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias,
                              const ProductKernel* kernel) {
    if (!multiplies(kernel, x, weight))
        return torch::linear(for_libtorch(x), for_libtorch(weight), for_libtorch(bias)).to(x.scalar_type());
    RECORD_USER_SCOPE("ForwardProduct");
    torch::Tensor out = torch::empty({x.size(0), weight.size(0)}, x.options());
    Product product = product_into(out);
    product.terms[0] = {left_of(x), {data_of<Bf16>(weight), weight.size(1), true}, x.size(1)};
    product.term_count = 1;
    product.bias = bias.defined() ? data_of<Bf16>(bias) : nullptr;
    run(*kernel, product);
    return out;
}

torch::Tensor input_product(at::TensorList grads, at::TensorList weights, const ProductKernel* kernel) {
    bool own = grads.size() <= Product::most_terms;
    for (std::size_t i = 0; i < grads.size(); ++i) own = own && multiplies(kernel, grads[i], weights[i]);
    if (!own) {
        torch::Tensor sum = for_libtorch(grads[0]).mm(for_libtorch(weights[0]));
        for (std::size_t i = 1; i < grads.size(); ++i) sum.addmm_(for_libtorch(grads[i]), for_libtorch(weights[i]));
        return sum.to(grads[0].scalar_type());
    }
    RECORD_USER_SCOPE("InputProduct");
    torch::Tensor out = torch::empty({grads[0].size(0), weights[0].size(1)}, grads[0].options());
    Product product = product_into(out);
    for (std::size_t i = 0; i < grads.size(); ++i) {
        product.terms[i] = {left_of(grads[i]), {data_of<Bf16>(weights[i]), out.size(1), false}, grads[i].size(1)};
    }
    product.term_count = static_cast<int>(grads.size());
    run(*kernel, product);
    return out;
}

torch::Tensor weight_product(const torch::Tensor& grad, const torch::Tensor& x, const ProductKernel* kernel) {
    torch::Tensor out = torch::empty({grad.size(1), x.size(1)}, x.options());
    weight_product_into(out, /*adds=*/false, grad, x, kernel);
    return out;
}

void weight_product_into(const torch::Tensor& out, bool adds, const torch::Tensor& grad, const torch::Tensor& x,
                         const ProductKernel* kernel) {
    if (multiplies(kernel, grad, x) && kernel_can(out) && out.is_contiguous())
        return run_weight_product(*kernel, grad, x, out, adds);
    torch::Tensor to = out;
    const torch::Tensor left = for_libtorch(grad).t(), right = for_libtorch(x);
    if (out.scalar_type() != left.scalar_type()) {
        const torch::Tensor made = left.mm(right);
        adds ? to.add_(made) : to.copy_(made);
    } else if (adds) {
        to.addmm_(left, right);
    } else {
        torch::mm_out(to, left, right);
    }
}

}  // namespace strata::models
