// LAMB's two phases: trust ratios of whole tensors, however the tensors straddle ranks. That it follows its reference
// step by step is update_rule_test's.
#include "core/error.h"
#include "optim/fused_update.h"
#include "optim/segment_table.h"
#include "optim/shard.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

namespace strata::optim {
namespace {

/// Two groups; most tensors straddle slices at 2 ranks and more, and some ranks own nothing of the second group.
Plan lamb_plan(int ranks) {
    PlanConfig config;
    config.policy = {.kind = PolicyKind::two_part, .backbone_multiplier = 0.5};
    config.optimizer = {.kind = OptimizerKind::lamb, .weight_decay = 0.1};
    config.schedule.options.kind = ScheduleKind::constant;
    config.learning_rate = 0.1;
    config.total_steps = 10;
    config.world_size = ranks;
    return make_plan({{"bert.embeddings.word_embeddings.weight", {700, 100}},
                      {"bert.encoder.layer.0.dense.weight", {301, 77}},
                      {"bert.encoder.layer.0.dense.bias", {301}},
                      {"bert.encoder.layer.0.LayerNorm.weight", {33}},
                      {"classifier.weight", {2, 33}},
                      {"classifier.bias", {2}}},
                     config);
}

using Values = std::vector<std::vector<float>>;  // one for each group

Values random_values(const Plan& plan, unsigned seed, float scale) {
    std::mt19937 engine(seed);
    std::normal_distribution<float> normal;
    Values values;
    for (const Group& group : plan.groups) {
        std::vector<float> content(static_cast<std::size_t>(group.elements));
        for (float& value : content) value = normal(engine) * scale;
        values.push_back(std::move(content));
    }
    return values;
}

struct Trained {
    Values param;
    Values first;
    Values second;
    std::vector<double> last_sums;
};

/// `steps` updates by plan.world_size ranks, one after another in this process, sums added up in the order of ranks.
Trained train(const Plan& plan, int steps) {
    Trained run{random_values(plan, 1, 1.0F), random_values(plan, 2, 0.0F), random_values(plan, 3, 0.0F), {}};
    for (int step = 0; step < steps; ++step) {
        Values grad = random_values(plan, 10U + static_cast<unsigned>(step), 0.3F);
        std::vector<std::vector<UpdateSpan>> spans;
        const auto hypers =
            make_hypers(plan, step, std::vector<std::int64_t>(plan.groups.size(), std::int64_t{step} + 1));
        run.last_sums.assign(2 * tensor_of_sums(plan).size(), 0.0);
        for (int rank = 0; rank < plan.world_size; ++rank) {
            std::vector<SliceBuffers> buffers;
            for (std::size_t g = 0; g < plan.groups.size(); ++g) {
                const auto at = slice_of(plan.groups[g].elements, rank, plan.world_size).begin;
                buffers.push_back({run.param[g].data() + at, grad[g].data() + at, run.first[g].data() + at,
                                   run.second[g].data() + at});
            }
            spans.push_back(build_spans(plan, rank, plan.stages[0].trainable, buffers));
            std::vector<double> sums(run.last_sums.size());
            lamb_moments_cpu(spans.back(), hypers, {}, sums);
            for (std::size_t i = 0; i < sums.size(); ++i) run.last_sums[i] += sums[i];
        }
        for (const auto& own : spans) lamb_apply_cpu(own, hypers, {}, run.last_sums);
    }
    return run;
}

bool same_bits(const Values& a, const Values& b) {
    bool same = a.size() == b.size();
    for (std::size_t g = 0; same && g < a.size(); ++g) {
        same = a[g].size() == b[g].size() && std::memcmp(a[g].data(), b[g].data(), a[g].size() * sizeof(float)) == 0;
    }
    return same;
}

TEST(Lamb, RatiosAreOfWholeTensorsHoweverManyRanks) {
    const Trained one = train(lamb_plan(1), 5);
    for (const int ranks : {2, 3, 4, 7}) {
        const Trained many = train(lamb_plan(ranks), 5);
        ASSERT_EQ(many.last_sums.size(), 12U);
        for (std::size_t i = 0; i < many.last_sums.size(); ++i) {
            EXPECT_GT(one.last_sums[i], 0.0);
            EXPECT_NEAR(many.last_sums[i] / one.last_sums[i], 1.0, 1e-6);
        }
        for (std::size_t g = 0; g < one.param.size(); ++g) {
            for (std::size_t i = 0; i < one.param[g].size(); ++i) {
                ASSERT_NEAR(many.param[g][i], one.param[g][i], 1e-6F) << ranks << " ranks";
            }
        }
        EXPECT_TRUE(same_bits(train(lamb_plan(ranks), 5).param, many.param)) << ranks << " ranks, again";
    }
}

TEST(Lamb, SumsAreThoseOfTheTensor) {
    const Plan plan = lamb_plan(3);
    const Values before = random_values(plan, 1, 1.0F);
    const Trained run = train(plan, 1);
    std::size_t tensor = 0;
    for (std::size_t g = 0; g < plan.groups.size(); ++g) {
        for (const Segment& segment : plan.groups[g].segments) {
            double sum = 0.0;
            for (std::int64_t i = 0; i < segment.elements; ++i) {
                sum += std::pow(static_cast<double>(before[g][static_cast<std::size_t>(segment.offset + i)]), 2);
            }
            EXPECT_NEAR(run.last_sums[2 * tensor], sum, 1e-10 * sum) << segment.name;
            ++tensor;
        }
    }
}

TEST(Lamb, DoesNotDependOnTheNumberOfThreads) {
    const int threads_before = omp_get_max_threads();
    omp_set_num_threads(1);
    const Trained expected = train(lamb_plan(2), 3);
    for (const int threads : {2, 5}) {
        omp_set_num_threads(threads);
        const Trained run = train(lamb_plan(2), 3);
        EXPECT_TRUE(same_bits(run.param, expected.param));
        EXPECT_EQ(run.last_sums, expected.last_sums);
    }
    omp_set_num_threads(threads_before);
}

TEST(Lamb, MovesEachTensorByItsOwnNorm) {
    // |change| = rate x |w| for tensors with a ratio, whatever their gradients' size.
    const Plan plan = lamb_plan(2);
    const Values before = random_values(plan, 1, 1.0F);
    const Trained run = train(plan, 1);
    for (std::size_t g = 0; g < plan.groups.size(); ++g) {
        for (const Segment& segment : plan.groups[g].segments) {
            double change = 0.0;
            double weight = 0.0;
            for (std::int64_t i = segment.offset; i < segment.offset + segment.elements; ++i) {
                const auto at = static_cast<std::size_t>(i);
                change += std::pow(static_cast<double>(run.param[g][at]) - before[g][at], 2);
                weight += std::pow(static_cast<double>(before[g][at]), 2);
            }
            const double moved = std::sqrt(change / weight) / plan.learning_rate(g, 0);
            if (segment.decays) {
                EXPECT_NEAR(moved, 1.0, 1e-5) << segment.name;
            } else {
                // Adam's first step: every element by the rate.
                EXPECT_NEAR(std::sqrt(change / static_cast<double>(segment.elements)), plan.learning_rate(g, 0), 1e-6);
            }
        }
    }
}

TEST(Lamb, NotFiniteTouchesNothingAndSumsToZero) {
    std::vector<float> param{1.0F, 2.0F};
    std::vector<float> first{0.5F, 0.5F};
    std::vector<float> second{0.25F, 0.25F};
    const std::vector<float> grad{1.0F, 1.0F};
    const std::vector<UpdateSpan> spans{{param.data(), grad.data(), first.data(), second.data(), 2, 0, true, 0}};
    const std::vector<GroupHyper> hypers{{.lr = 0.5F, .one_minus_beta1 = 0.1F}};
    std::vector<double> sums{1.0, 1.0};
    lamb_moments_cpu(spans, hypers, {.finite = false}, sums);
    lamb_apply_cpu(spans, hypers, {.finite = false}, sums);
    EXPECT_EQ(sums, (std::vector<double>{0.0, 0.0}));
    EXPECT_EQ(param, (std::vector<float>{1.0F, 2.0F}));
    EXPECT_EQ(first, (std::vector<float>{0.5F, 0.5F}));
    EXPECT_EQ(second, (std::vector<float>{0.25F, 0.25F}));
    EXPECT_THROW(lamb_moments_cpu(spans, hypers, {}, std::span(sums).first(0)), std::logic_error);
    EXPECT_THROW(lamb_apply_cpu(spans, hypers, {}, {}), std::logic_error);
}

TEST(TrustRatio, IsOneWhereThereIsNoneToHave) {
    EXPECT_EQ(trust_ratio(4.0, 16.0, true), 0.5F);
    EXPECT_EQ(trust_ratio(4.0, 16.0, false), 1.0F);
    EXPECT_EQ(trust_ratio(0.0, 16.0, true), 1.0F);
    EXPECT_EQ(trust_ratio(4.0, 0.0, true), 1.0F);
}

TEST(BuildSpans, KeepTensorsApartForLambAlone) {
    Plan plan = lamb_plan(1);
    const std::vector<SliceBuffers> buffers(2);
    auto spans = build_spans(plan, 0, {true, true}, buffers);
    ASSERT_EQ(spans.size(), 6U);
    EXPECT_EQ(tensor_of_sums(plan).size(), 6U);
    for (std::size_t t = 0; t < 6; ++t) EXPECT_EQ(spans[t].tensor, static_cast<std::int32_t>(t));
    spans = build_spans(plan, 0, {false, true}, buffers);
    ASSERT_EQ(spans.size(), 2U);
    EXPECT_EQ(spans[0].tensor, 4);
    plan.optimizer.kind = OptimizerKind::adamw;
    EXPECT_EQ(build_spans(plan, 0, {true, true}, buffers).size(), 4U);
}

}  // namespace
}  // namespace strata::optim
