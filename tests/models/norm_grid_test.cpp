// LayerNorm(residual + dropout(x + bias)) and dropout alone as a GPU computes them: against the definition in double,
// and, for the masks, the CPU's, bit for bit.
#include "models/norm_grid.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <numeric>

#include "models/dropout_kernel.h"
#include "tests/models/pass_run.h"

namespace strata::models {
namespace {

using testing::Array;
using testing::expect_close;
using testing::for_all_types;
using testing::Form;
using testing::PassRun;
using testing_support::ThreadOrder;

constexpr double epsilon = 1e-5;
constexpr double probability = 0.25;
constexpr std::int64_t site = 7;
std::vector<std::uint64_t> some_step_key{0x123456789ABCDEF1ULL};

/// Rows of sequences of 1, 2, 3, ... tokens.
std::vector<std::int64_t> some_places(std::size_t rows) {
    std::vector<std::int64_t> places;
    for (std::int64_t sample = 40, token = 0; places.size() < 2 * rows;) {
        places.push_back(sample);
        places.push_back(token);
        if (++token <= sample - 40) continue;
        token = 0;
        ++sample;
    }
    return places;
}

DropoutRow mask_of(const std::vector<std::int64_t>& places, std::size_t row,
                   std::uint64_t step_key = some_step_key[0]) {
    const std::uint64_t sample_key = dropout_sample_key_of(dropout_site_key_of(step_key, site), places[2 * row]);
    return {dropout_row_key_of(sample_key, places[2 * row + 1], 0), dropout_threshold(probability),
            static_cast<float>(1.0 / (1.0 - probability))};
}

DropoutPlaces on_gpu(PassRun& run, std::vector<std::int64_t>& places,
                     std::vector<std::uint64_t>& step_key = some_step_key) {
    return {run(places), run(step_key), site, dropout_threshold(probability),
            static_cast<float>(1.0 / (1.0 - probability))};
}

enum class With { residual_alone, bias, dropout };

struct Shape {
    std::size_t rows, width, phase;
};
/// None and one row; odd, whole, held and long rows; several tiles.
constexpr Shape shapes[] = {{0, 8, 0},    {1, 1, 0},    {1, 8, 0},    {3, 5, 0},    {9, 16, 1},
                            {65, 17, 0},  {131, 45, 3}, {70, 384, 0}, {9, 1024, 0}, {9, 1032, 0},
                            {5, 2056, 0}, {64, 100, 0}, {129, 264, 0}};

std::string text_of(const Shape& shape) {
    return std::to_string(shape.rows) + " x " + std::to_string(shape.width) + " from " + std::to_string(shape.phase);
}

template <typename T>
struct Case {
    Case(const Shape& shape, With what, double mean = 0.5)
        : with(what),
          rows(shape.rows),
          width(shape.width),
          x(Array<T>::random(rows * width, shape.phase, 1)),
          bias(Array<T>::random(width, shape.phase, 2)),
          residual(Array<T>::random(rows * width, shape.phase, 3, 2.0, mean)),
          gamma(Array<T>::random(width, shape.phase, 4, 0.5, 1.0)),
          beta(Array<T>::random(width, shape.phase, 5)),
          grad_y(Array<T>::random(rows * width, shape.phase, 6)),
          s(rows * width, shape.phase),
          y(rows * width, shape.phase),
          grad_residual(rows * width, shape.phase),
          grad_x(rows * width, shape.phase),
          sums(width * (what == With::residual_alone ? 2 : 3)),
          places(some_places(rows)),
          moments(2 * rows, NAN),
          means(rows),
          tiles(static_cast<std::size_t>(TileShape{int_of(rows), int_of(width)}.row_tiles()) * sums.size(), NAN) {}

    static std::int64_t int_of(std::size_t size) { return static_cast<std::int64_t>(size); }

    void forward(PassRun run) {
        NormForward<T> pass{};
        pass.rows = int_of(rows);
        pass.width = int_of(width);
        pass.residual = run(residual);
        pass.gamma = run(gamma);
        pass.beta = run(beta);
        pass.y = run(y);
        pass.moments = run(moments);
        pass.epsilon = static_cast<float>(epsilon);
        if (with != With::residual_alone) {
            pass.x = run(x);
            pass.bias = run(bias);
            pass.s = run(s);
        }
        if (with == With::dropout) pass.dropout = on_gpu(run, places);
        run.run(pass);
    }

    void backward(PassRun run) {
        NormBackward<T> pass{};
        pass.rows = int_of(rows);
        pass.width = int_of(width);
        pass.grad_y = run(grad_y);
        pass.s = run(with == With::residual_alone ? residual : s);
        pass.gamma = run(gamma);
        pass.moments = run(moments);
        pass.grad_residual = run(grad_residual);
        if (with != With::residual_alone) pass.grad_x = run(grad_x);
        if (with == With::dropout) pass.dropout = on_gpu(run, places);
        pass.means = run(means);
        pass.tiles = run(tiles);
        pass.sums_to = run(sums);
        run.run(pass);
    }

    double factor(std::size_t row, std::size_t column) const {
        if (with != With::dropout) return 1.0;
        return dropout_factor_of(mask_of(places, row), static_cast<std::uint32_t>(column));
    }

    void expect_definition() const {
        const double n = static_cast<double>(width);
        std::vector<double> sum, value, to_residual, to_x, totals(3 * width), total_scale(3 * width, 1.0);
        std::vector<double> sum_scale, value_scale, grad_scale;
        for (std::size_t row = 0; row < rows; ++row) {
            const std::size_t at = row * width;
            std::vector<double> stored;  // what the norm is of: the sum as it lies there
            for (std::size_t c = 0; c < width; ++c) {
                sum.push_back(residual[at + c]);
                if (with != With::residual_alone) sum.back() += factor(row, c) * (x[at + c] + bias[c]);
                sum_scale.push_back(4.0 + std::abs(sum.back()));
                stored.push_back(with == With::residual_alone ? residual[at + c] : s[at + c]);
            }
            const double mean = std::accumulate(stored.begin(), stored.end(), 0.0) / n;
            double variance = 0.0, plain = 0.0, weighted = 0.0;
            for (const double a : stored) variance += (a - mean) * (a - mean) / n;
            const double inverse = 1.0 / std::sqrt(variance + epsilon);
            // fp32 holds a sum to so much of the deviation.
            const double digits = 1.0 + (std::abs(mean) + 8.0) * inverse;
            for (std::size_t c = 0; c < width; ++c) {
                const double normal = (stored[c] - mean) * inverse;
                value.push_back(normal * gamma[c] + beta[c]);
                value_scale.push_back(4.0 * digits);
                plain += grad_y[at + c] * gamma[c] / n;
                weighted += grad_y[at + c] * gamma[c] * normal / n;
            }
            for (std::size_t c = 0; c < width; ++c) {
                const double normal = (stored[c] - mean) * inverse, above = grad_y[at + c];
                to_residual.push_back((above * gamma[c] - plain - normal * weighted) * inverse);
                to_x.push_back(to_residual.back() * factor(row, c));
                grad_scale.push_back(16.0 * digits * inverse);
                totals[c] += above * normal;
                totals[width + c] += above;
                totals[2 * width + c] += to_x.back();
                total_scale[c] += 4.0 * digits * std::abs(above);
                total_scale[width + c] += std::abs(above);
                total_scale[2 * width + c] += grad_scale.back();
            }
        }
        expect_close(y, value, value_scale, "value");
        expect_close(grad_residual, to_residual, grad_scale, "gradient of the residual");
        totals.resize(sums.size());
        expect_close(sums, totals, total_scale, "sums of gamma's, beta's, bias's gradients");
        if (with == With::residual_alone) return;
        expect_close(s, sum, sum_scale, "sum");
        expect_close(grad_x, to_x, grad_scale, "gradient of x");
    }

    With with;
    std::size_t rows, width;
    Array<T> x, bias, residual, gamma, beta, grad_y, s, y, grad_residual, grad_x, sums;
    std::vector<std::int64_t> places;
    std::vector<float> moments;
    std::vector<NormRowMeans> means;
    std::vector<float> tiles;
};

class NormGrid : public testing::OfBothForms {};

TEST_P(NormGrid, EqualsItsDefinition) {
    for_all_types([&](auto type) {
        for (const With with : {With::residual_alone, With::bias, With::dropout}) {
            for (const Shape& shape : shapes) {
                SCOPED_TRACE("with " + std::to_string(static_cast<int>(with)) + ", " + text_of(shape));
                Case<decltype(type)> on(shape, with);
                on.forward(PassRun(GetParam()));
                on.backward(PassRun(GetParam()));
                on.expect_definition();
            }
        }
    });
}

TEST_P(NormGrid, KeepsItsDigitsFarFromZero) {
    Case<float> on({40, 100, 0}, With::bias, 1000.0);
    on.forward(PassRun(GetParam()));
    for (std::size_t row = 0; row < on.rows; ++row) {
        double mean = 0.0, variance = 0.0;
        for (std::size_t c = 0; c < on.width; ++c) mean += on.s[row * on.width + c] / 100.0;
        for (std::size_t c = 0; c < on.width; ++c) variance += std::pow(on.s[row * on.width + c] - mean, 2) / 100.0;
        EXPECT_NEAR(on.moments[2 * row + 1] * std::sqrt(variance + epsilon), 1.0, 1e-5);
    }
}

TEST_P(NormGrid, AMaskIsTheCpusBitForBit) {
    for (const std::size_t width : {1, 45, 384, 1040}) {
        constexpr std::size_t rows = 33;
        std::vector<std::int64_t> places = some_places(rows);
        Array<float> x = Array<float>::random(rows * width, 0, 7), out(rows * width);
        PassRun run(GetParam());
        run.run(DropoutPass<float>{static_cast<std::int64_t>(rows), static_cast<std::int64_t>(width), run(x), run(out),
                                   on_gpu(run, places)});
        std::vector<float> expected(width);
        for (std::size_t row = 0; row < rows; ++row) {
            dropout_row(mask_of(places, row), x.data() + row * width, expected.data(),
                        static_cast<std::int64_t>(width));
            EXPECT_EQ(0, std::memcmp(expected.data(), out.data() + row * width, width * sizeof(float))) << row;
        }
    }
}

TEST_P(NormGrid, DropoutTakesAllTypesAndShapes) {
    for_all_types([&](auto type) {
        using T = decltype(type);
        for (const Shape& shape : shapes) {
            std::vector<std::int64_t> places = some_places(shape.rows);
            Array<T> x = Array<T>::random(shape.rows * shape.width, shape.phase, 7);
            Array<T> out(x.size(), shape.phase);
            PassRun run(GetParam());
            run.run(DropoutPass<T>{static_cast<std::int64_t>(shape.rows), static_cast<std::int64_t>(shape.width),
                                   run(x), run(out), on_gpu(run, places)});
            std::vector<double> expected;
            for (std::size_t i = 0; i < x.size(); ++i) {
                const DropoutRow mask = mask_of(places, i / shape.width);
                expected.push_back(x[i] * dropout_factor_of(mask, static_cast<std::uint32_t>(i % shape.width)));
            }
            expect_close(out, expected, std::vector<double>(x.size(), 1.0), text_of(shape));
        }
    });
}

INSTANTIATE_TEST_SUITE_P(Forms, NormGrid, ::testing::Values(Form::host_walk, Form::cuda), testing::form_name);

TEST(NormGridWalk, TheOrderOfThreadsDoesNotMatter) {
    for_all_types([](auto type) {
        for (const Shape& shape : shapes) {
            Case<decltype(type)> up(shape, With::dropout), down = up;
            up.forward(PassRun(Form::host_walk, ThreadOrder::ascending));
            up.backward(PassRun(Form::host_walk, ThreadOrder::ascending));
            down.forward(PassRun(Form::host_walk, ThreadOrder::descending));
            down.backward(PassRun(Form::host_walk, ThreadOrder::descending));
            EXPECT_TRUE(up.y.same_bits(down.y)) << text_of(shape);
            EXPECT_TRUE(up.grad_x.same_bits(down.grad_x)) << text_of(shape);
            EXPECT_TRUE(up.sums.same_bits(down.sums)) << text_of(shape);
        }
    });
}

/// What is launched again, as a replay does, has the masks of the step that it is.
TEST(NormGridWalk, AMaskFollowsTheKeyInMemory) {
    constexpr std::size_t rows = 5, width = 45;
    std::vector<std::int64_t> places = some_places(rows);
    std::vector<std::uint64_t> step_key{0};
    Array<float> x = Array<float>::random(rows * width, 0, 7), out(rows * width);
    PassRun run(Form::host_walk);
    const DropoutPass<float> pass{static_cast<std::int64_t>(rows), static_cast<std::int64_t>(width), run(x), run(out),
                                  on_gpu(run, places, step_key)};
    std::vector<float> expected(width);
    for (const std::uint64_t step : {3U, 4U}) {
        step_key[0] = optim::seeded_key(11, step);
        run.run(pass);
        for (std::size_t row = 0; row < rows; ++row) {
            dropout_row(mask_of(places, row, step_key[0]), x.data() + row * width, expected.data(),
                        static_cast<std::int64_t>(width));
            EXPECT_EQ(0, std::memcmp(expected.data(), out.data() + row * width, width * sizeof(float))) << row;
        }
    }
}

}  // namespace
}  // namespace strata::models
