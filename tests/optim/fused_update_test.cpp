// The fused update in its three forms: the CPU's loops, the GPU kernel's body walked over a whole grid on the host, and
// the GPU. All three must give the bits of the rule applied element by element.
#include "optim/fused_update.h"

#include "fused_update_device.h"
#include "kernel_walk.h"
#include "optim/device.h"
#include "optim/stochastic_rounding.h"
#include "optim/update_kernel.h"
#include "update_case.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <ostream>
#include <string>
#include <tuple>

namespace strata::optim {
namespace {

using testing::AlignedHalves;
using testing::Piece;
using testing::three_hypers;
using testing::UpdateCase;

enum class Form { cpu, host_walk, cuda };

void PrintTo(Form form, std::ostream* out) {
    *out << static_cast<int>(form);
}

/// Square sums of every tensor of a case, all ratios different; one tensor's are zero.
std::vector<double> some_tensor_sums() {
    std::vector<double> sums;
    for (int tensor = 0; tensor < 16; ++tensor) {
        sums.push_back(tensor == 2 ? 0.0 : 3.0 + tensor);
        sums.push_back(2.0);
    }
    return sums;
}

void walk_grid(Pass pass, std::span<const UpdateSpan> spans, std::span<const GroupHyper> hypers,
               const UpdateControl& control, std::int64_t blocks, int threads) {
    const std::vector<std::int64_t> tiles = first_tiles(spans);
    const std::vector<double> tensor_sums = some_tensor_sums();
    std::vector<SumPair> tile_sums(static_cast<std::size_t>(tiles.back()));
    const UpdateTables tables{
        spans.data(), tiles.data(),     hypers.data(),     &control, static_cast<std::int64_t>(spans.size()),
        tiles.back(), tile_sums.data(), tensor_sums.data()};
    testing::walk(pass, false, tables, blocks, threads);
}

/// AdamW's sums of squares of each of three groups' changes and parameters, as the grid measures them.
std::vector<double> walk_and_measure(std::span<const UpdateSpan> given, std::span<const GroupHyper> hypers) {
    std::vector<UpdateSpan> spans(given.begin(), given.end());
    std::stable_sort(spans.begin(), spans.end(), [](const auto& a, const auto& b) { return a.group < b.group; });
    const std::vector<std::int64_t> tiles = first_tiles(spans);
    std::vector<SumPair> tile_sums(static_cast<std::size_t>(tiles.back()));
    const UpdateControl control;
    const UpdateTables tables{spans.data(),      tiles.data(), hypers.data(),   &control,
                              std::ssize(spans), tiles.back(), tile_sums.data()};
    testing::walk(Pass::adamw, true, tables, 5, kernel_threads);
    return testing::walk_bins(tile_sums, group_bins(spans, 3), 2, 3);
}

void update_on_cpu(Pass pass, std::span<const UpdateSpan> spans, std::span<const GroupHyper> hypers,
                   const UpdateControl& control) {
    std::vector<double> tensor_sums = some_tensor_sums();
    switch (pass) {
        case Pass::adamw:
            return fused_update_cpu(OptimizerKind::adamw, spans, hypers, control);
        case Pass::adam:
            return fused_update_cpu(OptimizerKind::adam, spans, hypers, control);
        case Pass::sgd:
            return fused_update_cpu(OptimizerKind::sgd, spans, hypers, control);
        case Pass::lamb_moments:
            return lamb_moments_cpu(spans, hypers, control, tensor_sums);
        case Pass::lamb_apply:
            return lamb_apply_cpu(spans, hypers, control, tensor_sums);
        case Pass::square_sum:
            FAIL() << "no update";
    }
}

void update_one(Pass pass, const UpdateSpan& span, std::int64_t i, const GroupHyper& h, float grad, float& param) {
    float& first = span.exp_avg[i];
    float& second = span.exp_avg_sq[i];
    if (pass == Pass::adamw) adamw_update(param, grad, first, second, h, span.decays);
    if (pass == Pass::adam) adam_update(param, grad, first, second, h, span.decays);
    if (pass == Pass::sgd) sgd_update(param, grad, &first, h, span.decays);
    if (pass == Pass::lamb_moments) update_moments(grad, first, second, h);
    if (pass == Pass::lamb_apply) {
        const std::vector<double> sums = some_tensor_sums();
        const auto tensor = static_cast<std::size_t>(span.tensor);
        const float ratio = trust_ratio(sums[2 * tensor], sums[2 * tensor + 1], span.decays);
        lamb_apply(param, first, second, h, ratio, span.decays);
    }
}

/// By comparison instead of addition; of finite values.
std::uint16_t rounded_stochastically(float value, const UpdateSpan& span, std::int64_t i, const GroupHyper& h) {
    const std::uint64_t key = mix64(h.rounding ^ span.parameter);
    const std::uint32_t random = element_hash(key, static_cast<std::uint32_t>(span.first + i)) >> 16;
    const auto bits = std::bit_cast<std::uint32_t>(value);
    const bool away = (bits & 0xFFFFU) > 0xFFFFU - random;
    return static_cast<std::uint16_t>((bits >> 16) + (away ? 1 : 0));
}

void update_one_by_one(Pass pass, std::span<const UpdateSpan> spans, std::span<const GroupHyper> hypers,
                       float grad_scale) {
    for (const UpdateSpan& span : spans) {
        const GroupHyper& h = hypers[static_cast<std::size_t>(span.group)];
        for (std::int64_t i = 0; i < span.elements; ++i) {
            const float grad = span.grad16 != nullptr ? widen(span.grad16[i], span.type) : span.grad[i];
            float param = span.param != nullptr ? span.param[i] : widen(span.rounded[i], span.type);
            update_one(pass, span, i, h, grad * grad_scale, param);
            if (pass == Pass::lamb_moments) continue;
            if (span.param == nullptr) {
                span.rounded[i] = rounded_stochastically(param, span, i, h);
                continue;
            }
            span.param[i] = param;
            if (span.rounded != nullptr) span.rounded[i] = narrow(param, span.type);
        }
    }
}

/// Several tiles, one-element spans, spans that end off every border, empty spans.
std::vector<Piece> awkward_pieces() {
    return {{1, 0, true},  {3, 0, false},    {40'009, 1, true}, {2, 1, false},  {0, 1, true},      {16'384, 2, true},
            {5, 2, false}, {4'096, 0, true}, {1, 1, false},     {127, 2, true}, {12'289, 0, false}};
}

class FusedUpdate : public ::testing::TestWithParam<std::tuple<Form, Pass>> {
  protected:
    Form form() const { return std::get<0>(GetParam()); }
    Pass pass() const { return std::get<1>(GetParam()); }

    void SetUp() override {
        if (form() == Form::cuda && !cuda_built()) GTEST_SKIP() << "fused update on CUDA: built without nvcc";
        if (form() == Form::cuda && device_count() == 0) GTEST_SKIP() << "fused update on CUDA: no GPU here";
    }

    void update(UpdateCase& memory, std::span<const UpdateSpan> spans, std::span<const GroupHyper> hypers,
                const UpdateControl& control) {
        switch (form()) {
            case Form::cpu:
                return update_on_cpu(pass(), spans, hypers, control);
            case Form::host_walk:
                return walk_grid(pass(), spans, hypers, control, 5, kernel_threads);
            case Form::cuda:
                break;
        }
#ifdef STRATA_WITH_CUDA
        testing::update_on_device(pass(), memory, spans, hypers, control, some_tensor_sums());
#else
        (void)memory;
#endif
    }
};

TEST_P(FusedUpdate, GivesTheRulesBitsAndTouchesNothingElse) {
    for (const std::int64_t start : {0, 1, 2, 3, 4, 7}) {
        UpdateCase expected(awkward_pieces(), start, 1);
        UpdateCase actual = expected;
        const UpdateControl control{.grad_scale = 0.7F};
        const auto hypers = three_hypers();
        update_one_by_one(pass(), expected.spans(), hypers, control.grad_scale);
        update(actual, actual.spans(), hypers, control);
        EXPECT_TRUE(actual.same_bits(expected)) << "first span starts at element " << start;
    }
}

TEST_P(FusedUpdate, In16BitsGivesTheRulesBitsOnTheMasterAndRoundsThemOnce) {
    for (const ComputeType type : {ComputeType::bf16, ComputeType::fp16}) {
        for (const std::int64_t start : {0, 1, 6}) {
            UpdateCase expected(awkward_pieces(), start, 1, type);
            UpdateCase actual = expected;
            const auto hypers = three_hypers();
            update_one_by_one(pass(), expected.spans(), hypers, 0.7F);
            update(actual, actual.spans(), hypers, {.grad_scale = 0.7F});
            EXPECT_TRUE(actual.same_bits(expected)) << name_of(type) << ", first span starts at element " << start;
            UpdateCase skipped = expected;
            update(skipped, skipped.spans(), hypers, {.finite = false});
            EXPECT_TRUE(skipped.same_bits(expected)) << name_of(type);
        }
    }
}

TEST_P(FusedUpdate, WithoutMastersRoundsTheRulesValuesStochastically) {
    const auto hypers = three_hypers();
    for (const std::int64_t start : {0, 1, 6}) {
        UpdateCase expected(awkward_pieces(), start, 1, ComputeType::bf16, false);
        const UpdateCase before = expected;
        update_one_by_one(pass(), expected.spans(), hypers, 0.7F);
        EXPECT_EQ(expected.rounded.same_bits(before.rounded), pass() == Pass::lamb_moments);
        for (const std::int64_t cut : {std::int64_t{1} << 40, std::int64_t{1000}, std::int64_t{333}}) {
            UpdateCase actual = before;
            update(actual, actual.spans(cut), hypers, {.grad_scale = 0.7F});
            EXPECT_TRUE(actual.same_bits(expected)) << "from element " << start << ", cut every " << cut;
        }
        UpdateCase skipped = before;
        update(skipped, skipped.spans(), hypers, {.finite = false});
        EXPECT_TRUE(skipped.same_bits(before));
    }
}

TEST_P(FusedUpdate, AnotherStepsNumbersRoundOtherwise) {
    auto hypers = three_hypers();
    UpdateCase one(awkward_pieces(), 0, 1, ComputeType::bf16, false);
    UpdateCase other = one;
    update(one, one.spans(), hypers, {});
    for (GroupHyper& hyper : hypers) ++hyper.rounding;
    update(other, other.spans(), hypers, {});
    EXPECT_EQ(other.rounded.same_bits(one.rounded), pass() == Pass::lamb_moments);
    EXPECT_TRUE(other.first.same_bits(one.first) && other.second.same_bits(one.second));
}

/// What a network computes in may be 16-bit while its gradients were added up in fp32.
TEST_P(FusedUpdate, Fp32GradientsBesideARoundedParameter) {
    const auto mixed = [](UpdateCase& memory) {
        auto spans = memory.spans();
        for (UpdateSpan& span : spans) {
            span.grad = memory.grad.data() + (span.param - memory.param.data());
            span.grad16 = nullptr;
        }
        return spans;
    };
    UpdateCase expected(awkward_pieces(), 2, 1, ComputeType::bf16);
    UpdateCase actual = expected;
    update_one_by_one(pass(), mixed(expected), three_hypers(), 1.0F);
    update(actual, mixed(actual), three_hypers(), {});
    EXPECT_TRUE(actual.same_bits(expected));
}

TEST_P(FusedUpdate, DoesNotDependOnHowSpansAreCut) {
    const auto hypers = three_hypers();
    UpdateCase whole(awkward_pieces(), 0, 2);
    const UpdateCase before = whole;
    update(whole, whole.spans(), hypers, {});
    EXPECT_FALSE(whole.same_bits(before));
    for (const std::int64_t cut : {1000, 4096, 333}) {
        UpdateCase actual = before;
        update(actual, actual.spans(cut), hypers, {});
        EXPECT_TRUE(actual.same_bits(whole)) << "cut every " << cut;
    }
}

TEST_P(FusedUpdate, NotFiniteTouchesNothing) {
    UpdateCase memory(awkward_pieces(), 0, 3);
    const UpdateCase before = memory;
    update(memory, memory.spans(), three_hypers(), {.grad_scale = 1.0F, .finite = false});
    EXPECT_TRUE(memory.same_bits(before));
}

std::string form_name(const ::testing::TestParamInfo<std::tuple<Form, Pass>>& info) {
    const char* const forms[] = {"cpu", "host_walk", "cuda"};
    const char* const passes[] = {"adamw", "adam", "sgd", "lamb_moments", "lamb_apply"};
    return std::string(forms[static_cast<int>(std::get<0>(info.param))]) + "_" +
           passes[static_cast<int>(std::get<1>(info.param))];
}

INSTANTIATE_TEST_SUITE_P(Forms, FusedUpdate,
                         ::testing::Combine(::testing::Values(Form::cpu, Form::host_walk, Form::cuda),
                                            ::testing::Values(Pass::adamw, Pass::adam, Pass::sgd, Pass::lamb_moments,
                                                              Pass::lamb_apply)),
                         form_name);

TEST(FusedUpdateCpu, DoesNotDependOnTheNumberOfThreads) {
    const auto hypers = three_hypers();
    const int threads_before = omp_get_max_threads();
    std::vector<UpdateCase> results;
    std::vector<std::vector<GroupTelemetry>> sums;
    for (const int threads : {1, 2, 3, 7}) {
        omp_set_num_threads(threads);
        results.emplace_back(awkward_pieces(), 1, 4U);
        sums.emplace_back(3);
        fused_update_cpu(OptimizerKind::adamw, results.back().spans(), hypers, {}, sums.back());
    }
    omp_set_num_threads(threads_before);
    for (std::size_t i = 1; i < results.size(); ++i) {
        EXPECT_TRUE(results[i].same_bits(results[0]));
        for (std::size_t g = 0; g < 3; ++g) {
            EXPECT_EQ(sums[i][g].update_square_sum, sums[0][g].update_square_sum);
            EXPECT_EQ(sums[i][g].weight_square_sum, sums[0][g].weight_square_sum);
        }
    }
}

TEST(FusedUpdateCpu, MeasuresUpdatesAndWeightsWithoutChangingThem) {
    for (const OptimizerKind kind : {OptimizerKind::adamw, OptimizerKind::adam, OptimizerKind::sgd}) {
        const auto hypers = three_hypers();
        UpdateCase plain(awkward_pieces(), 0, 5);
        UpdateCase measured = plain;
        const UpdateCase before = plain;
        std::vector<GroupTelemetry> sums(3, {1.0, 1.0});
        fused_update_cpu(kind, plain.spans(), hypers, {});
        fused_update_cpu(kind, measured.spans(), hypers, {}, sums);
        EXPECT_TRUE(measured.same_bits(plain));

        std::vector<GroupTelemetry> expected(3);
        for (const UpdateSpan& span : measured.spans()) {
            const std::ptrdiff_t at = span.param - measured.param.data();
            for (std::int64_t i = 0; i < span.elements; ++i) {
                const double weight = span.param[i];
                const double change = weight - static_cast<double>(before.param.data()[at + i]);
                expected[static_cast<std::size_t>(span.group)].update_square_sum += change * change;
                expected[static_cast<std::size_t>(span.group)].weight_square_sum += weight * weight;
            }
        }
        for (std::size_t g = 0; g < 3; ++g) {
            EXPECT_NEAR(sums[g].update_square_sum / expected[g].update_square_sum, 1.0, 1e-12);
            EXPECT_NEAR(sums[g].weight_square_sum / expected[g].weight_square_sum, 1.0, 1e-12);
        }
    }
}

TEST(FusedUpdateCpu, NotFiniteMeasuresNothing) {
    UpdateCase memory(awkward_pieces(), 0, 6);
    std::vector<GroupTelemetry> sums(3, {1.0, 1.0});
    fused_update_cpu(OptimizerKind::adamw, memory.spans(), three_hypers(), {.finite = false}, sums);
    for (const GroupTelemetry& sum : sums) EXPECT_EQ(sum.update_square_sum + sum.weight_square_sum, 0.0);
}

TEST(FusedUpdateCpu, PlainSgdNeedsNoMoments) {
    std::vector<float> param{1.0F, 2.0F};
    const std::vector<float> grad{0.5F, -0.5F};
    const std::vector<UpdateSpan> spans{{param.data(), grad.data(), nullptr, nullptr, 2, 0, false}};
    const std::vector<GroupHyper> hypers{{.lr = 0.5F}};
    fused_update_cpu(OptimizerKind::sgd, spans, hypers, {});
    EXPECT_EQ(param, (std::vector<float>{0.75F, 2.25F}));
    walk_grid(Pass::sgd, spans, hypers, {}, 1, 1);
    EXPECT_EQ(param, (std::vector<float>{0.5F, 2.5F}));
}

TEST(FusedUpdateCpu, FirstMomentumIsTheGradientWhateverTheBufferHolds) {
    std::vector<float> param{1.0F};
    std::vector<float> buffer{1000.0F};
    const std::vector<float> grad{0.5F};
    const std::vector<UpdateSpan> spans{{param.data(), grad.data(), buffer.data(), nullptr, 1, 0, false}};
    std::vector<GroupHyper> hypers{{.lr = 0.5F, .momentum = 0.5F, .first_update = 1}};
    fused_update_cpu(OptimizerKind::sgd, spans, hypers, {});
    EXPECT_EQ(buffer[0], 0.5F);
    EXPECT_EQ(param[0], 0.75F);
    hypers[0].first_update = 0;
    fused_update_cpu(OptimizerKind::sgd, spans, hypers, {});
    EXPECT_EQ(buffer[0], 0.75F);
}

TEST(FusedUpdateCpu, RefusesTablesThatDoNotFit) {
    std::vector<float> values(4);
    const std::vector<UpdateSpan> spans{{values.data(), values.data(), nullptr, nullptr, 4, 1, false}};
    EXPECT_THROW(fused_update_cpu(OptimizerKind::sgd, spans, std::vector<GroupHyper>(1), {}), std::logic_error);
    EXPECT_THROW(fused_update_cpu(OptimizerKind::adamw, spans, std::vector<GroupHyper>(2), {}), std::logic_error);
    EXPECT_NO_THROW(fused_update_cpu(OptimizerKind::adamw, {}, {}, {}));
    EXPECT_THROW(fused_update_cpu(OptimizerKind::lamb, {}, {}, {}), std::logic_error);
    UpdateCase fp16({{4, 0, false}}, 0, 1, ComputeType::fp16, false);
    EXPECT_THROW(fused_update_cpu(OptimizerKind::sgd, fp16.spans(), std::vector<GroupHyper>(1), {}), std::logic_error);
}

TEST(FusedUpdateCpu, MeasuresMastersIn16BitsToo) {
    UpdateCase plain(awkward_pieces(), 0, 5, ComputeType::bf16);
    UpdateCase measured = plain;
    std::vector<GroupTelemetry> sums(3);
    fused_update_cpu(OptimizerKind::adamw, plain.spans(), three_hypers(), {});
    fused_update_cpu(OptimizerKind::adamw, measured.spans(), three_hypers(), {}, sums);
    EXPECT_TRUE(measured.same_bits(plain));
    std::vector<double> weights(3);
    for (const UpdateSpan& span : measured.spans()) {
        for (std::int64_t i = 0; i < span.elements; ++i) {
            const double weight = span.param[i];
            weights[static_cast<std::size_t>(span.group)] += weight * weight;
        }
    }
    for (std::size_t g = 0; g < 3; ++g) EXPECT_NEAR(sums[g].weight_square_sum / weights[g], 1.0, 1e-12);
}

/// Without masters a weight is what is stored, and so is its change.
TEST(FusedUpdateCpu, MeasuresWhatWasRoundedAndTheGridToo) {
    const auto hypers = three_hypers();
    const UpdateCase before(awkward_pieces(), 3, 5, ComputeType::bf16, false);
    UpdateCase plain = before, measured = before, walked = before;
    std::vector<GroupTelemetry> sums(3);
    fused_update_cpu(OptimizerKind::adamw, plain.spans(), hypers, {});
    fused_update_cpu(OptimizerKind::adamw, measured.spans(), hypers, {}, sums);
    EXPECT_TRUE(measured.same_bits(plain));
    std::vector<GroupTelemetry> expected(3);
    for (const UpdateSpan& span : measured.spans()) {
        const std::uint16_t* const old = before.rounded.data() + (span.rounded - measured.rounded.data());
        for (std::int64_t i = 0; i < span.elements; ++i) {
            const double weight = bf16_to_float(span.rounded[i]);
            const double change = weight - static_cast<double>(bf16_to_float(old[i]));
            expected[static_cast<std::size_t>(span.group)].update_square_sum += change * change;
            expected[static_cast<std::size_t>(span.group)].weight_square_sum += weight * weight;
        }
    }
    const std::vector<double> of_grid = walk_and_measure(walked.spans(), hypers);
    EXPECT_TRUE(walked.same_bits(plain));
    for (std::size_t g = 0; g < 3; ++g) {
        EXPECT_NEAR(sums[g].update_square_sum / expected[g].update_square_sum, 1.0, 1e-12);
        EXPECT_NEAR(sums[g].weight_square_sum / expected[g].weight_square_sum, 1.0, 1e-12);
        EXPECT_NEAR(of_grid[2 * g] / expected[g].update_square_sum, 1.0, 1e-12);
        EXPECT_NEAR(of_grid[2 * g + 1] / expected[g].weight_square_sum, 1.0, 1e-12);
    }
}

TEST(FusedUpdateCpu, OfThreadsRoundingKnowsNothing) {
    const int threads_before = omp_get_max_threads();
    const UpdateCase before(awkward_pieces(), 1, 4, ComputeType::bf16, false);
    std::vector<UpdateCase> results;
    for (const int threads : {1, 2, 7}) {
        omp_set_num_threads(threads);
        results.push_back(before);
        fused_update_cpu(OptimizerKind::adamw, results.back().spans(), three_hypers(), {});
    }
    omp_set_num_threads(threads_before);
    for (const UpdateCase& result : results) EXPECT_TRUE(result.same_bits(results[0]));
}

/// A rate at which each change is a thousandth of a bf16's last bit.
TEST(FusedUpdateCpu, StochasticRoundingMovesWhatNearestLeaves) {
    constexpr int steps = 1000;
    const UpdateCase start({{65'536, 0, false}}, 0, 1, ComputeType::bf16, false);
    std::vector<GroupHyper> hypers{{.lr = 1e-5F}};
    UpdateCase stochastic = start;
    AlignedHalves nearest(1);
    nearest.data()[0] = float_to_bf16(1.0F);
    std::fill_n(stochastic.rounded.data(), 65'536, float_to_bf16(1.0F));
    std::fill_n(stochastic.grad16.data(), 65'536, float_to_bf16(1.0F));
    for (int step = 0; step < steps; ++step) {
        hypers[0].rounding = rounding_step_key(7, step);
        fused_update_cpu(OptimizerKind::sgd, stochastic.spans(), hypers, {});
        nearest.data()[0] = float_to_bf16(bf16_to_float(nearest.data()[0]) - 1e-5F);
    }
    EXPECT_EQ(bf16_to_float(nearest.data()[0]), 1.0F);
    double mean = 0.0;
    for (std::int64_t i = 0; i < 65'536; ++i) mean += bf16_to_float(stochastic.rounded.data()[i]) / 65'536.0;
    // A step moves an element by 2^-8 with probability 1e-5 x 2^8: after a thousand the deviation of an element is
    // sqrt(1000 x 1e-5 x 2^-8) = 6.2e-3, of the mean 2.4e-5, and this is five of it.
    EXPECT_NEAR(mean, 1.0 - 1e-5 * steps, 1.2e-4);
}

TEST(UpdateKernel, AnyGridGivesTheSameBits) {
    const auto hypers = three_hypers();
    UpdateCase expected(awkward_pieces(), 3, 7);
    const UpdateCase before = expected;
    walk_grid(Pass::adamw, expected.spans(), hypers, {}, 1, 1);
    for (const auto& [blocks, threads] : {std::pair{1, 32}, {3, 96}, {19, 256}, {64, 1024}}) {
        UpdateCase actual = before;
        walk_grid(Pass::adamw, actual.spans(), hypers, {}, blocks, threads);
        EXPECT_TRUE(actual.same_bits(expected)) << blocks << " blocks of " << threads;
    }
}

TEST(UpdateKernel, TensorsOutOfPhaseMoveOneByOne) {
    const auto hypers = three_hypers();
    for (int tensor = 0; tensor < 3; ++tensor) {
        // One tensor lies further on than the others, as in a buffer of its own with another alignment.
        const auto shifted = [tensor](UpdateCase& memory) {
            auto spans = memory.spans();
            if (tensor == 0) spans[0].grad += 1;
            if (tensor == 1) spans[0].exp_avg += 2;
            if (tensor == 2) spans[0].exp_avg_sq += 3;
            return spans;
        };
        UpdateCase expected({{5000, 1, true}}, 0, 8);
        UpdateCase actual = expected;
        const auto spans = shifted(actual);
        EXPECT_FALSE(kernel::in_phase(spans[0]));
        update_one_by_one(Pass::adamw, shifted(expected), hypers, 1.0F);
        walk_grid(Pass::adamw, spans, hypers, {}, 2, 64);
        EXPECT_TRUE(actual.same_bits(expected));
    }
}

TEST(UpdateKernel, FindsTheSpanOfEveryTile) {
    UpdateCase memory(awkward_pieces(), 1, 9);
    const auto spans = memory.spans();
    const auto tiles = first_tiles(spans);
    ASSERT_EQ(tiles.size(), spans.size() + 1);
    const UpdateTables tables{.spans = spans.data(),
                              .first_tiles = tiles.data(),
                              .span_count = static_cast<std::int64_t>(spans.size()),
                              .tile_count = tiles.back()};
    for (std::int64_t tile = 0; tile < tiles.back(); ++tile) {
        const auto s = static_cast<std::size_t>(kernel::span_of_tile(tables, tile));
        EXPECT_LE(tiles[s], tile);
        EXPECT_GT(tiles[s + 1], tile);
    }
}

}  // namespace
}  // namespace strata::optim
