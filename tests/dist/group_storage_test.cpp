#include "dist/group_storage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mpi.h>

#include <stdexcept>

#include "tests/dist/plan_support.h"

namespace strata::dist {
namespace {

using testing::awkward_groups;
using testing::bits_of;
using ::testing::Each;
using testing::make_parameters;
using testing::make_test_plan;
using testing::TestGroup;

int world_size() {
    int size = 1;
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    return size;
}

std::string check_failure(const std::function<void()>& action) {
    try {
        action();
    } catch (const std::logic_error& error) {
        return error.what();
    }
    return "no failure";
}

/// Storage needs no communication: one process stands for every rank in turn.
/// A live group's, padding included.
std::span<const float> gradients_of(GroupStorage& storage, std::size_t group, int ranks) {
    const PartedView parts = storage.gradient_parts(group);
    return {static_cast<const float*>(parts.data), static_cast<std::size_t>(parts.stride * ranks)};
}

class Storage : public ::testing::TestWithParam<int> {
  protected:
    int ranks() const { return GetParam(); }
};

TEST_P(Storage, KeepsValuesAndMakesParametersViewsOfTheirGroup) {
    const auto groups = awkward_groups();
    const optim::Plan plan = make_test_plan(groups, ranks());
    const NamedParameters parameters = make_parameters(groups);
    const std::string before = bits_of(parameters);
    GroupStorage storage(plan, parameters, 0);
    EXPECT_EQ(bits_of(parameters), before);
    std::size_t next = 0;
    for (std::size_t g = 0; g < plan.groups.size(); ++g) {
        for (const optim::Segment& segment : plan.groups[g].segments) {
            const torch::Tensor& parameter = parameters[next++].second;
            EXPECT_EQ(parameter.data_ptr<float>(), storage.parameters(g).data() + segment.offset) << segment.name;
            EXPECT_EQ(parameter.requires_grad(), storage.live(g)) << segment.name;
            EXPECT_TRUE(parameter.is_leaf()) << segment.name;
        }
    }
    storage.require_bound();
}

TEST_P(Storage, AutogradAddsIntoTheArenaInPlace) {
    const auto groups = awkward_groups();
    const optim::Plan plan = make_test_plan(groups, ranks());
    const NamedParameters parameters = make_parameters(groups);
    GroupStorage storage(plan, parameters, 0);
    for (int round = 1; round <= 2; ++round) {
        torch::Tensor loss = torch::zeros({});
        for (const auto& [name, parameter] : parameters) loss = loss + (3 * parameter).sum();
        loss.backward();
        storage.require_bound();
        for (const auto& [name, parameter] : parameters) {
            if (!parameter.requires_grad()) continue;
            EXPECT_TRUE(torch::equal(parameter.grad(), torch::full_like(parameter, 3.0 * round))) << name;
        }
    }
    double sum = 0;
    std::int64_t live_elements = 0;
    for (std::size_t g = 0; g < plan.groups.size(); ++g) {
        if (!storage.live(g)) continue;
        live_elements += plan.groups[g].elements;
        for (const float value : gradients_of(storage, g, ranks())) sum += value;
    }
    EXPECT_EQ(sum, 6.0 * static_cast<double>(live_elements)) << "padding stays zero";
    storage.zero_gradients();
    for (std::size_t g = 0; g < plan.groups.size(); ++g) {
        if (!storage.live(g)) continue;
        EXPECT_THAT(gradients_of(storage, g, ranks()), Each(0.0F));
    }
    storage.require_bound();
}

TEST_P(Storage, EmbeddingGradientsStayInTheArenaToo) {
    const std::vector<TestGroup> groups{{"embeddings", 1.0, {{"word", {11, 4}}}}};
    const optim::Plan plan = make_test_plan(groups, ranks());
    const NamedParameters parameters = make_parameters(groups);
    GroupStorage storage(plan, parameters, 0);
    const auto ids = torch::tensor({3, 3, 7}, torch::kInt64);
    torch::embedding(parameters[0].second, ids).sum().backward();
    storage.require_bound();
    EXPECT_EQ(gradients_of(storage, 0, ranks())[3 * 4], 2.0F);
    EXPECT_EQ(gradients_of(storage, 0, ranks())[7 * 4], 1.0F);
    EXPECT_EQ(gradients_of(storage, 0, ranks())[0], 0.0F);
}

TEST_P(Storage, AllocatesWhatThePlanSays) {
    for (const double momentum : {0.0, 0.9}) {
        for (const auto kind : {optim::OptimizerKind::adamw, optim::OptimizerKind::sgd}) {
            optim::OptimizerConfig optimizer;
            optimizer.kind = kind;
            optimizer.momentum = momentum;
            const auto groups = awkward_groups();
            const optim::Plan plan = make_test_plan(groups, ranks(), optimizer);
            for (int rank = 0; rank < ranks(); ++rank) {
                const GroupStorage storage(plan, make_parameters(groups), rank);
                const optim::RankMemory planned = optim::memory_per_rank(plan, rank, 0);
                EXPECT_EQ(storage.memory().parameter_bytes, planned.parameter_bytes);
                EXPECT_EQ(storage.memory().gradient_bytes, planned.gradient_bytes);
                EXPECT_EQ(storage.memory().state_bytes, planned.state_bytes);
            }
        }
    }
}

TEST_P(Storage, StateOfAllRanksIsTwoMomentsOfEachTrainableElement) {
    const auto groups = awkward_groups();
    const optim::Plan plan = make_test_plan(groups, ranks());
    std::int64_t state_bytes = 0;
    for (int rank = 0; rank < ranks(); ++rank) {
        GroupStorage storage(plan, make_parameters(groups), rank);
        state_bytes += storage.memory().state_bytes;
        for (std::size_t g = 0; g < plan.groups.size(); ++g) {
            const optim::SliceBuffers buffers = storage.buffers(g);
            for (std::int64_t i = 0; storage.live(g) && i < storage.slice(g).size(); ++i) {
                ASSERT_EQ(buffers.exp_avg[i], 0.0F);
                ASSERT_EQ(buffers.exp_avg_sq[i], 0.0F);
            }
            EXPECT_LE(storage.slice(g).size(), optim::slice_stride(plan.groups[g].elements, ranks()));
        }
    }
    std::int64_t live_elements = 0;
    for (std::size_t g = 0; g < plan.groups.size(); ++g) {
        if (plan.trainable(g, 0)) live_elements += plan.groups[g].elements;
    }
    EXPECT_EQ(state_bytes, live_elements * 2 * 4);
}

TEST_P(Storage, AFrozenGroupHasParametersAndNothingElse) {
    const auto groups = awkward_groups();
    const optim::Plan plan = make_test_plan(groups, ranks());
    const NamedParameters parameters = make_parameters(groups);
    GroupStorage storage(plan, parameters, 0);
    ASSERT_FALSE(storage.live(1));
    const optim::SliceBuffers buffers = storage.buffers(1);
    EXPECT_NE(buffers.param, nullptr);
    EXPECT_EQ(buffers.grad, nullptr);
    EXPECT_EQ(buffers.exp_avg, nullptr);
    EXPECT_EQ(buffers.exp_avg_sq, nullptr);
    for (const auto& span : storage.spans()) EXPECT_NE(span.group, 1);
    EXPECT_FALSE(parameters[1].second.grad().defined());
}

TEST_P(Storage, SpansOfAllRanksCoverEachTrainableElementOnce) {
    const auto groups = awkward_groups();
    const optim::Plan plan = make_test_plan(groups, ranks());
    std::vector<std::int64_t> covered(plan.groups.size(), 0);
    for (int rank = 0; rank < ranks(); ++rank) {
        GroupStorage storage(plan, make_parameters(groups), rank);
        for (const auto& span : storage.spans()) {
            const auto g = static_cast<std::size_t>(span.group);
            covered[g] += span.elements;
            EXPECT_GE(span.param, storage.parameters(g).data());
            EXPECT_LE(span.param + span.elements, storage.parameters(g).data() + storage.parameters(g).size());
        }
    }
    for (std::size_t g = 0; g < covered.size(); ++g) {
        EXPECT_EQ(covered[g], plan.trainable(g, 0) ? plan.groups[g].elements : 0) << plan.groups[g].name;
    }
}

INSTANTIATE_TEST_SUITE_P(Ranks, Storage, ::testing::Values(1, 2, 3, 4, 7, 64));

const std::vector<TestGroup> two_weights{{"all", 1.0, {{"a", {4, 3}}, {"b", {5}}}}};

TEST(GroupStorage, TiedWeightsAreStoredOnce) {
    const optim::Plan plan = make_test_plan(two_weights, world_size());
    for (const bool same_object : {true, false}) {
        NamedParameters parameters = make_parameters(two_weights);
        const torch::Tensor tied =
            same_object ? parameters[0].second : parameters[0].second.detach().requires_grad_(true);
        parameters.emplace_back("decoder", tied);
        GroupStorage storage(plan, parameters, 0);
        storage.require_bound();
        EXPECT_EQ(storage.memory().parameter_bytes, optim::memory_per_rank(plan, 0, 0).parameter_bytes);
        EXPECT_EQ(tied.data_ptr<float>(), storage.parameters(0).data());
        ((parameters[0].second * 2).sum() + (tied * 5).sum()).backward();
        storage.require_bound();
        EXPECT_EQ(gradients_of(storage, 0, 1)[0], 7.0F) << "both uses add into one gradient";
    }
}

TEST(GroupStorage, ThePlanAndTheModelMustMatch) {
    const optim::Plan plan = make_test_plan(two_weights, world_size());
    const auto failure = [&](const NamedParameters& parameters) {
        return check_failure([&] { GroupStorage(plan, parameters, 0); });
    };
    NamedParameters missing = make_parameters(two_weights);
    missing.pop_back();
    EXPECT_THAT(failure(missing), ::testing::HasSubstr("no parameter b"));
    NamedParameters additional = make_parameters(two_weights);
    additional.emplace_back("c", torch::zeros({2}));
    EXPECT_THAT(failure(additional), ::testing::HasSubstr("no parameter c"));
    NamedParameters reshaped = make_parameters(two_weights);
    reshaped[0].second = torch::zeros({3, 4});
    EXPECT_THAT(failure(reshaped), ::testing::HasSubstr("a is not fp32 of the planned shape"));
    NamedParameters half = make_parameters(two_weights);
    half[1].second = torch::zeros({5}, torch::kHalf);
    EXPECT_THAT(failure(half), ::testing::HasSubstr("b is not fp32"));
    NamedParameters twice = make_parameters({{"all", 1.0, {{"a", {5}}, {"b", {5}}}}});
    twice[1].second = twice[0].second;
    EXPECT_THAT(check_failure([&] {
                    GroupStorage(make_test_plan({{"all", 1.0, {{"a", {5}}, {"b", {5}}}}}, 1), twice, 0);
                }),
                ::testing::HasSubstr("are one tensor"));
}

TEST(GroupStorage, ADroppedOrReplacedGradientIsFound) {
    const optim::Plan plan = make_test_plan(two_weights, world_size());
    const NamedParameters parameters = make_parameters(two_weights);
    GroupStorage storage(plan, parameters, 0);
    torch::Tensor b = parameters[1].second;
    b.mutable_grad() = torch::Tensor();
    EXPECT_THAT(check_failure([&] { storage.require_bound(); }), ::testing::HasSubstr("the gradient of b"));
    b.mutable_grad() = torch::zeros_like(b);
    EXPECT_THAT(check_failure([&] { storage.require_bound(); }), ::testing::HasSubstr("the gradient of b"));
}

TEST(GroupStorage, AMovedParameterIsFound) {
    const optim::Plan plan = make_test_plan(two_weights, world_size());
    const NamedParameters parameters = make_parameters(two_weights);
    GroupStorage storage(plan, parameters, 0);
    torch::Tensor a = parameters[0].second;
    a.set_data(a.detach().clone());
    EXPECT_THAT(check_failure([&] { storage.require_bound(); }), ::testing::HasSubstr("a was moved"));
}

}  // namespace
}  // namespace strata::dist
