// Products of bfloat16 matrices against sums in double, at every kind of edge. No torch.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "models/product_kernel.h"
#include "models/scratch.h"
#include "models/tile_products.h"
#include "models/vector_products.h"
#include "models/vectors.h"
#include "optim/mix.h"
#include "tests/support/tile_processor.h"

namespace strata::models {
namespace {

constexpr std::uint16_t untouched = 0x7FC1;  // a NaN, which shows where it is read

Bf16 bf16_of(float x) {
    Bf16 to{};
    narrow(x, to);
    return to;
}

/// Row by row, between borders that nobody may write to.
struct Matrix {
    Matrix(std::int64_t its_rows, std::int64_t its_columns, std::uint64_t seed)
        : rows(its_rows), columns(its_columns), memory(static_cast<std::size_t>(rows * columns + 2 * border)) {
        for (Bf16& element : memory) element.bits = untouched;
        for (std::int64_t i = 0; i < rows * columns; ++i) {
            const std::uint64_t bits = optim::mix64(seed * 1000003 + static_cast<std::uint64_t>(i));
            data()[i] = bf16_of(static_cast<float>(bits >> 40) / static_cast<float>(1 << 23) - 1.0F);
        }
    }
    Bf16* data() { return memory.data() + border; }
    const Bf16* data() const { return memory.data() + border; }
    double at(std::int64_t row, std::int64_t column) const { return widen(data()[row * columns + column]); }

    void expect_borders() const {
        for (std::size_t i = 0; i < border; ++i) {
            ASSERT_EQ(memory[i].bits, untouched) << "before the first element";
            ASSERT_EQ(memory[memory.size() - 1 - i].bits, untouched) << "after the last element";
        }
    }

    static constexpr std::size_t border = 64;
    std::int64_t rows, columns;
    std::vector<Bf16> memory;
};

Product product_into(Matrix& out) {
    Product product{};
    product.rows = out.rows;
    product.columns = product.out_stride = out.columns;
    product.out = out.data();
    return product;
}

/// The largest error in roundings of a sum of that many terms, each below one.
void expect_near(double got, double expected, std::int64_t inner, const char* what) {
    const double rounding = std::abs(expected) / 256 + static_cast<double>(inner) * 1e-6;
    ASSERT_NEAR(got, expected, rounding) << what;
}

struct Sizes {
    std::int64_t rows, columns, inner;
};

std::vector<Sizes> all_sizes() {
    std::vector<Sizes> sizes = {{1, 1, 2}, {257, 96, 64}, {30, 384, 130}, {513, 50, 34}, {40, 70, 8300}};
    for (std::int64_t rows = 1; rows <= 17; ++rows) sizes.push_back({rows, 2 * rows + 14, 2 * rows});
    for (std::int64_t columns = 1; columns <= 100; columns += 3) sizes.push_back({9, columns, 46});
    return sizes;
}

/// By the name of the instruction that multiplies.
class ProductKernels : public testing::TestWithParam<std::string> {
  protected:
    void SetUp() override {
        if (vector_products() == nullptr) GTEST_SKIP() << "needs a processor with AVX512-BF16";
        const bool tiles = GetParam() == "tdpbf16ps";
        kernel_ = tiles ? tile_products_unasked() : vector_products();
    }

    void run_in_shares(const Product& product, std::int64_t shares) const {
        const std::int64_t parts = kernel_->parts(product);
        std::int64_t inner = 0;
        for (int t = 0; t < product.term_count; ++t) inner += product.terms[t].inner;
        const Scratch scratch(kernel_->scratch(inner));
        for (std::int64_t i = 0; i < shares; ++i) {
            kernel_->run(product, parts * i / shares, parts * (i + 1) / shares, scratch.words());
        }
    }

    const ProductKernel* kernel_ = nullptr;

  private:
    tests::TileProcessor tiles_;
};

TEST_P(ProductKernels, MultipliesByRowsOfTheRightMatrixAndAddsABias) {
    for (const auto& [rows, columns, inner] : all_sizes()) {
        SCOPED_TRACE(testing::Message() << rows << " x " << columns << " x " << inner);
        const Matrix a(rows, inner, 1), weight(columns, inner, 2), bias(1, columns, 3);
        Matrix out(rows, columns, 4);
        Product product = product_into(out);
        product.terms[0] = {left_in_place(a.data(), inner), {weight.data(), inner, true}, inner};
        product.term_count = 1;
        product.bias = bias.data();
        run_in_shares(product, 2);
        for (std::int64_t i = 0; i < rows; ++i) {
            for (std::int64_t j = 0; j < columns; ++j) {
                double expected = bias.at(0, j);
                for (std::int64_t k = 0; k < inner; ++k) expected += a.at(i, k) * weight.at(j, k);
                expect_near(out.at(i, j), expected, inner, "forward");
            }
        }
        out.expect_borders();
    }
}

TEST_P(ProductKernels, AddsUpSeveralProducts) {
    for (const auto& [rows, columns, inner] : all_sizes()) {
        SCOPED_TRACE(testing::Message() << rows << " x " << columns << " x " << inner);
        const std::vector<Matrix> lefts = {{rows, inner, 1}, {rows, 2 * inner, 2}, {rows, 6, 3}};
        const std::vector<Matrix> rights = {{inner, columns, 4}, {2 * inner, columns, 5}, {6, columns, 6}};
        Matrix out(rows, columns, 7);
        Product product = product_into(out);
        for (std::size_t t = 0; t < lefts.size(); ++t) {
            product.terms[t] = {
                left_in_place(lefts[t].data(), lefts[t].columns), {rights[t].data(), columns, false}, lefts[t].columns};
        }
        product.term_count = 3;
        run_in_shares(product, 3);
        for (std::int64_t i = 0; i < rows; ++i) {
            for (std::int64_t j = 0; j < columns; ++j) {
                double expected = 0;
                for (std::size_t t = 0; t < lefts.size(); ++t) {
                    for (std::int64_t k = 0; k < lefts[t].columns; ++k) {
                        expected += lefts[t].at(i, k) * rights[t].at(k, j);
                    }
                }
                expect_near(out.at(i, j), expected, 4 * inner, "input's gradient");
            }
        }
        out.expect_borders();
    }
}

TEST_P(ProductKernels, MultipliesByATransposeAndAddsToWhatIsThere) {
    for (const bool adds : {false, true}) {
        for (const auto& [rows, columns, even] : all_sizes()) {
            const std::int64_t inner = even - (rows % 2);  // tokens: any number
            SCOPED_TRACE(testing::Message() << rows << " x " << columns << " x " << inner);
            const Matrix grad(inner, rows, 1), x(inner, columns, 2);
            Matrix packed(1, kernel_->packed_left_size(rows, inner), 3), out(rows, columns, 4);
            const Matrix before = out;
            kernel_->pack_left(grad.data(), rows, rows, inner, packed.data(), 0, 1);
            kernel_->pack_left(grad.data(), rows, rows, inner, packed.data(), 1, kernel_->packed_left_parts(rows));
            Product product = product_into(out);
            product.terms[0] = {packed_left(packed.data()), {x.data(), columns, false}, inner};
            product.term_count = 1;
            product.adds = adds;
            run_in_shares(product, 2);
            for (std::int64_t i = 0; i < rows; ++i) {
                for (std::int64_t j = 0; j < columns; ++j) {
                    double expected = adds ? before.at(i, j) : 0.0;
                    for (std::int64_t k = 0; k < inner; ++k) expected += grad.at(k, i) * x.at(k, j);
                    expect_near(out.at(i, j), expected, inner, "weight's gradient");
                }
            }
            out.expect_borders();
            packed.expect_borders();
        }
    }
}

TEST_P(ProductKernels, WritesSumsAsTheyAreAtAnyStride) {
    for (const bool adds : {false, true}) {
        for (const auto& [rows, columns, inner] : all_sizes()) {
            SCOPED_TRACE(testing::Message() << rows << " x " << columns << " x " << inner);
            const std::int64_t stride = columns + 5;
            const Matrix a(rows, inner, 1), weight(columns, inner, 2);
            std::vector<float> out(static_cast<std::size_t>(rows * stride), 0.5F);
            Product product{};
            product.rows = rows;
            product.columns = columns;
            product.wide_out = out.data();
            product.out_stride = stride;
            product.adds = adds;
            product.terms[0] = {left_in_place(a.data(), inner), {weight.data(), inner, true}, inner};
            product.term_count = 1;
            run_in_shares(product, 2);
            for (std::int64_t i = 0; i < rows; ++i) {
                for (std::int64_t j = 0; j < stride; ++j) {
                    double expected = adds || j >= columns ? 0.5 : 0.0;
                    for (std::int64_t k = 0; j < columns && k < inner; ++k) expected += a.at(i, k) * weight.at(j, k);
                    ASSERT_NEAR(out[static_cast<std::size_t>(i * stride + j)], expected,
                                1e-6 * static_cast<double>(1 + inner))
                        << i << j;
                }
            }
        }
    }
}

TEST_P(ProductKernels, ARowsBitsDoNotDependOnTheRowsBesideIt) {
    constexpr std::int64_t rows = 300, columns = 70, inner = 98;
    const Matrix a(rows, inner, 1), weight(columns, inner, 2);
    const auto from = [&](std::int64_t first, std::int64_t count) {
        Matrix out(count, columns, 3);
        Product product = product_into(out);
        product.terms[0] = {left_in_place(a.data() + first * inner, inner), {weight.data(), inner, true}, inner};
        product.term_count = 1;
        run_in_shares(product, 1);
        return out;
    };
    const Matrix all = from(0, rows);
    for (const auto& [first, count] :
         std::vector<std::pair<std::int64_t, std::int64_t>>{{0, 1}, {3, 2}, {5, 11}, {255, 7}}) {
        const Matrix some = from(first, count);
        EXPECT_EQ(std::memcmp(some.data(), all.data() + first * columns,
                              static_cast<std::size_t>(count * columns) * sizeof(Bf16)),
                  0)
            << count << " rows from " << first;
    }
}

TEST_P(ProductKernels, WhatIsNotFiniteShowsAndStaysInItsRow) {
    constexpr std::int64_t rows = 20, columns = 20, inner = 8;
    Matrix a(rows, inner, 1);
    a.data()[3 * inner + 5] = bf16_of(std::numeric_limits<float>::quiet_NaN());
    a.data()[7 * inner] = bf16_of(std::numeric_limits<float>::infinity());
    const Matrix weight(columns, inner, 2);
    Matrix out(rows, columns, 3);
    Product product = product_into(out);
    product.terms[0] = {left_in_place(a.data(), inner), {weight.data(), inner, true}, inner};
    product.term_count = 1;
    run_in_shares(product, 1);
    for (std::int64_t i = 0; i < rows; ++i) {
        for (std::int64_t j = 0; j < columns; ++j) {
            EXPECT_EQ(std::isnan(out.at(i, j)), i == 3);
            EXPECT_EQ(std::isinf(out.at(i, j)), i == 7);
        }
    }
}

INSTANTIATE_TEST_SUITE_P(By, ProductKernels, testing::Values("vdpbf16ps", "tdpbf16ps"),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace strata::models
