// The products of linear layers by each kernel, beside LibTorch's in fp32 on the same numbers.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <string>

#include "models/packed_product.h"
#include "models/tile_products.h"
#include "models/vector_products.h"
#include "tests/models/tensors.h"
#include "tests/support/tile_processor.h"

namespace strata::models::testing {
namespace {

torch::Tensor half(std::int64_t rows, std::int64_t columns) {
    return torch::randn({rows, columns}).to(torch::kBFloat16);
}

torch::Tensor whole(const torch::Tensor& x) {
    return x.to(torch::kFloat32);
}

/// By the name of the instruction that multiplies; "none" are LibTorch's own.
class PackedProducts : public ::testing::TestWithParam<std::string> {
  protected:
    void SetUp() override {
        torch::manual_seed(7);
        if (GetParam() == "none") return;
        if (vector_products() == nullptr) GTEST_SKIP() << "needs a processor with AVX512-BF16";
        kernel_ = GetParam() == "tdpbf16ps" ? tile_products_unasked() : vector_products();
    }

    static void expect_near(const torch::Tensor& got, const torch::Tensor& expected) {
        EXPECT_EQ(got.scalar_type(), torch::kBFloat16);
        EXPECT_LT(largest_difference(got, expected), 1e-2 * expected.abs().max().item<double>());
    }

    const ProductKernel* kernel_ = nullptr;

  private:
    tests::TileProcessor tiles_;
};

TEST_P(PackedProducts, OfALayerAreLibTorchs) {
    for (const std::int64_t tokens : {1, 31, 200}) {
        SCOPED_TRACE(tokens);
        const torch::Tensor x = half(tokens, 96), weight = half(130, 96), bias = half(1, 130)[0],
                            grad = half(tokens, 130);
        expect_near(forward_product(x, weight, bias, kernel_), torch::linear(whole(x), whole(weight), whole(bias)));
        expect_near(forward_product(x, weight, {}, kernel_), torch::linear(whole(x), whole(weight)));
        expect_near(weight_product(grad, x, kernel_), whole(grad).t().mm(whole(x)));
        const torch::Tensor sum = half(130, 96);
        const torch::Tensor expected = whole(sum) + whole(grad).t().mm(whole(x));
        weight_product_into(sum, /*adds=*/true, grad, x, kernel_);
        expect_near(sum, expected);
        sum.fill_(std::numeric_limits<double>::quiet_NaN());
        weight_product_into(sum, /*adds=*/false, grad, x, kernel_);
        EXPECT_TRUE(torch::equal(sum, weight_product(grad, x, kernel_)));
        const torch::Tensor wide = torch::full({130, 96}, std::numeric_limits<float>::quiet_NaN());
        weight_product_into(wide, /*adds=*/false, grad, x, kernel_);
        EXPECT_TRUE(torch::equal(wide.to(torch::kBFloat16), sum));
        weight_product_into(wide, /*adds=*/true, grad, x, kernel_);
        expect_near(wide.to(torch::kBFloat16), 2 * whole(grad).t().mm(whole(x)));
        const torch::Tensor other_grad = half(tokens, 64), other_weight = half(64, 96);
        expect_near(input_product({grad, other_grad}, {weight, other_weight}, kernel_),
                    whole(grad).mm(whole(weight)) + whole(other_grad).mm(whole(other_weight)));
    }
}

INSTANTIATE_TEST_SUITE_P(By, PackedProducts, ::testing::Values("none", "vdpbf16ps", "tdpbf16ps"),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace strata::models::testing
