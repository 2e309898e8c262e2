// Bias and activation as a GPU computes them, against the definition in double: grids walked on the host, and on a GPU.
#include "models/activation_grid.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/models/pass_run.h"

namespace strata::models {
namespace {

using testing::Array;
using testing::expect_close;
using testing::for_all_types;
using testing::Form;
using testing::PassRun;
using testing_support::ThreadOrder;

constexpr ActivationKind all_kinds[] = {ActivationKind::gelu, ActivationKind::gelu_tanh, ActivationKind::relu};

double value_of(ActivationKind kind, double x) {
    const double u = std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x);
    if (kind == ActivationKind::gelu) return x * 0.5 * std::erfc(-x / std::sqrt(2.0));
    if (kind == ActivationKind::gelu_tanh) return x * 0.5 * (1 + std::tanh(u));
    return std::max(x, 0.0);
}

double slope_of(ActivationKind kind, double x) {
    const double u = std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x), t = std::tanh(u);
    if (kind == ActivationKind::gelu) {
        return 0.5 * std::erfc(-x / std::sqrt(2.0)) + x * std::exp(-x * x / 2) / std::sqrt(2 * M_PI);
    }
    if (kind == ActivationKind::gelu_tanh) {
        return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * std::sqrt(2 / M_PI) * (1 + 3 * 0.044715 * x * x);
    }
    return x > 0 ? 1.0 : 0.0;
}

/// Rows, width, and how far the tensors lie from a 16-byte border: none and one row, widths that are and are not whole
/// vectors, several tiles both ways, tails.
struct Shape {
    std::size_t rows, width, phase;
};
constexpr Shape shapes[] = {{0, 8, 0},     {5, 0, 0},     {1, 1, 0},    {1, 8, 0},    {3, 5, 0},
                            {7, 16, 1},    {64, 16, 0},   {65, 17, 0},  {131, 33, 3}, {200, 264, 0},
                            {70, 1032, 0}, {129, 260, 0}, {63, 256, 0}, {8, 128, 0}};

std::string text_of(const Shape& shape) {
    return std::to_string(shape.rows) + " x " + std::to_string(shape.width) + " from " + std::to_string(shape.phase);
}

template <typename T>
struct Case {
    Case(const Shape& shape, ActivationKind its_kind)
        : kind(its_kind),
          rows(static_cast<std::int64_t>(shape.rows)),
          width(static_cast<std::int64_t>(shape.width)),
          x(Array<T>::random(shape.rows * shape.width, shape.phase, 1, 2.0)),
          bias(Array<T>::random(shape.width, shape.phase, 2)),
          grad_y(Array<T>::random(shape.rows * shape.width, shape.phase, 3)),
          y(shape.rows * shape.width, shape.phase),
          grad_x(shape.rows * shape.width, shape.phase),
          grad_bias(shape.width),
          tiles(static_cast<std::size_t>(TileShape{rows, width}.row_tiles() * width), NAN) {}

    void forward(PassRun run) { run.run(ActivationForward<T>{kind, rows, width, run(x), run(bias), run(y)}); }
    void backward(PassRun run) {
        run.run(ActivationBackward<T>{kind, rows, width, run(grad_y), run(x), run(bias), run(grad_x), run(grad_bias),
                                      run(tiles)});
    }

    void expect_definition() const {
        std::vector<double> values, slopes, value_scale, slope_scale, sums(bias.size()), sum_scale(bias.size(), 1.0);
        for (std::size_t i = 0; i < x.size(); ++i) {
            const double biased = static_cast<float>(x[i] + bias[i % bias.size()]);
            values.push_back(value_of(kind, biased));
            slopes.push_back(grad_y[i] * slope_of(kind, biased));
            value_scale.push_back(1.0 + std::abs(biased));
            slope_scale.push_back((1.0 + std::abs(grad_y[i])) * value_scale.back());
            sums[i % bias.size()] += slopes.back();
            sum_scale[i % bias.size()] += slope_scale.back();
        }
        expect_close(y, values, value_scale, "value");
        expect_close(grad_x, slopes, slope_scale, "gradient of x");
        expect_close(grad_bias, sums, sum_scale, "gradient of the bias");
    }

    ActivationKind kind;
    std::int64_t rows, width;
    Array<T> x, bias, grad_y, y, grad_x, grad_bias;
    std::vector<float> tiles;
};

class ActivationGrid : public testing::OfBothForms {};

TEST_P(ActivationGrid, EqualsItsDefinition) {
    for_all_types([&](auto type) {
        for (const ActivationKind kind : all_kinds) {
            for (const Shape& shape : shapes) {
                SCOPED_TRACE("kind " + std::to_string(static_cast<int>(kind)) + ", " + text_of(shape));
                Case<decltype(type)> on(shape, kind);
                on.forward(PassRun(GetParam()));
                on.backward(PassRun(GetParam()));
                on.expect_definition();
            }
        }
    });
}

TEST_P(ActivationGrid, IsRightEverywhere) {
    constexpr std::size_t points = 40001;
    Array<float> x(points), bias(points), y(points), ones(points), grad(points), grad_bias(points);
    for (std::size_t i = 0; i < points; ++i) {
        x.data()[i] = -20.0F + 0.001F * static_cast<float>(i);
        ones.data()[i] = 1.0F;
    }
    std::vector<float> tiles(points);
    for (const ActivationKind kind : {ActivationKind::gelu, ActivationKind::gelu_tanh}) {
        PassRun forward(GetParam()), backward(GetParam());
        forward.run(ActivationForward<float>{kind, 1, points, forward(x), forward(bias), forward(y)});
        backward.run(ActivationBackward<float>{kind, 1, points, backward(ones), backward(x), backward(bias),
                                               backward(grad), backward(grad_bias), backward(tiles)});
        for (std::size_t i = 0; i < points; ++i) {
            const double expected = value_of(kind, x[i]);
            EXPECT_NEAR(y[i], expected, 3e-7 * std::max(1.0, std::abs(expected))) << x[i];
            EXPECT_NEAR(grad[i], slope_of(kind, x[i]), 2e-6) << x[i];
        }
    }
}

TEST_P(ActivationGrid, ANanShowsAndInfinityIsOne) {
    Array<float> x(4), bias(4), y(4);
    for (const ActivationKind kind : all_kinds) {
        x.data()[0] = NAN;
        x.data()[1] = INFINITY;
        x.data()[2] = 300.0F;
        x.data()[3] = -300.0F;
        PassRun run(GetParam());
        run.run(ActivationForward<float>{kind, 1, 4, run(x), run(bias), run(y)});
        EXPECT_TRUE(std::isnan(y[0]));
        EXPECT_EQ(y[1], INFINITY);
        EXPECT_EQ(y[2], 300.0F);
        EXPECT_EQ(y[3], 0.0F);
    }
}

INSTANTIATE_TEST_SUITE_P(Forms, ActivationGrid, ::testing::Values(Form::host_walk, Form::cuda), testing::form_name);

/// A phase that reads what its own threads write would show; so would a sum whose order is left open.
TEST(ActivationGridWalk, TheOrderOfThreadsDoesNotMatter) {
    for_all_types([](auto type) {
        using T = decltype(type);
        for (const Shape& shape : shapes) {
            Case<T> up(shape, ActivationKind::gelu), down = up;
            up.backward(PassRun(Form::host_walk, ThreadOrder::ascending));
            down.backward(PassRun(Form::host_walk, ThreadOrder::descending));
            EXPECT_TRUE(up.grad_x.same_bits(down.grad_x)) << text_of(shape);
            EXPECT_TRUE(up.grad_bias.same_bits(down.grad_bias)) << text_of(shape);
        }
    });
}

}  // namespace
}  // namespace strata::models
