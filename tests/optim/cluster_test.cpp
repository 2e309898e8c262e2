// Predictions against figures worked out by hand from the formulas, and what must hold for any cluster.
#include "optim/cluster.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "bert_manifest.h"
#include "core/error.h"

namespace strata::optim {
namespace {

using ::testing::HasSubstr;

Plan large_plan(int ranks, int micro_batches = 1) {
    PlanConfig config;
    config.policy.kind = PolicyKind::layer_decay;
    config.total_steps = 10;
    config.world_size = ranks;
    config.micro_batches = micro_batches;
    return make_plan(testing::bert_manifest({.layers = 24, .hidden = 1024, .intermediate = 4096}), config);
}

const ClusterStep& way(const std::vector<ClusterStep>& steps, bool node, int stage, bool overlap) {
    for (const ClusterStep& step : steps) {
        if ((step.replicas > 1) == node && step.zero_stage == stage && step.overlap == overlap) return step;
    }
    throw std::logic_error("no such way");
}

/// BERT-large on 8 hosts of 8, one 45 GB/s network each: worked out in fp32 by hand from the ring formulas.
TEST(Cluster, HasTheFiguresOfTheFormulas) {
    const Plan plan = large_plan(64);
    const Cluster cluster = parse_cluster("hosts=8,gpus=8,nvlink=370,network=45,latency=1e-6,forward=0.1,backward=0.2");
    const auto steps = predict(plan, cluster, std::nullopt);
    ASSERT_EQ(steps.size(), 8U);
    const double bytes = 4.0 * static_cast<double>(plan.elements());
    const ClusterStep& flat = way(steps, false, 1, false);
    EXPECT_NEAR(flat.exposed, bytes * 63 / 64 / 45e9, 1e-2 * flat.exposed);
    EXPECT_NEAR(flat.gather, bytes * 63 / 64 / 45e9, 1e-2 * flat.gather);
    const ClusterStep& node = way(steps, true, 1, false);
    EXPECT_NEAR(node.gather, bytes * 7 / 8 / 370e9, 1e-2 * node.gather);
    EXPECT_NEAR(node.reduce, 2 * bytes * 7 / 8 / 45e9, 1e-2 * node.reduce);
    EXPECT_LT(way(steps, true, 1, true).exposed, 0.2 * node.exposed) << "under the backward pass";
    EXPECT_LT(way(steps, false, 1, true).gather, 0.2 * flat.gather) << "under the forward pass, embeddings apart";
    EXPECT_LT(way(steps, true, 1, true).step(), way(steps, false, 1, true).step());
    for (const bool copies : {false, true}) {
        EXPECT_LT(way(steps, copies, 2, true).memory.gradient_bytes, way(steps, copies, 1, true).memory.gradient_bytes);
        EXPECT_DOUBLE_EQ(way(steps, copies, 1, true).step(),
                         way(steps, copies, 1, true).forward + way(steps, copies, 1, true).backward +
                             way(steps, copies, 1, true).exposed + way(steps, copies, 1, true).update +
                             way(steps, copies, 1, true).gather);
    }
}

TEST(Cluster, SixteenBitsHalveWhatTravelsInsideAHost) {
    const Cluster cluster = parse_cluster("hosts=8,gpus=8,nvlink=37,network=45,latency=1e-6,forward=0.1,backward=0.2");
    Plan plan = large_plan(64);
    const auto wide = predict(plan, cluster, std::nullopt);
    plan.compute = ComputeType::bf16;
    const auto narrow = predict(plan, cluster, std::nullopt);
    const double bytes = 2.0 * static_cast<double>(plan.elements());
    for (const bool node : {false, true})
        EXPECT_NEAR(way(narrow, node, 1, false).gather, 0.5 * way(wide, node, 1, false).gather, 1e-3);
    EXPECT_NEAR(way(narrow, false, 1, false).reduce, 0.5 * way(wide, false, 1, false).reduce, 1e-3);
    // Inside the host 2 bytes an element, between hosts 4.
    EXPECT_NEAR(way(narrow, true, 1, false).reduce, 2 * 2 * bytes * 7 / 8 / 45e9, 1e-3);
    EXPECT_NEAR(way(narrow, false, 1, false).update, bytes / 2 / 64 * 28 / 3e12 + 1e-12, 1e-7)
        << "2 bytes less of the gradient, 2 more of the weight";
    plan.rounding_seed = 1;
    const auto rounded = predict(plan, cluster, std::nullopt);
    EXPECT_NEAR(way(rounded, false, 1, false).update, bytes / 2 / 64 * 22 / 3e12 + 1e-12, 1e-7)
        << "8 less of the master";
}

TEST(Cluster, StageTwoReducesEveryMicroBatch) {
    const Cluster cluster = parse_cluster("hosts=2,gpus=1,network=1,latency=1e-6,forward=0.1,backward=0.2,update=0.01");
    const auto steps = predict(large_plan(2, 4), cluster, std::nullopt);
    ASSERT_EQ(steps.size(), 4U) << "one rank a host has nobody to share with there";
    EXPECT_NEAR(way(steps, false, 2, false).reduce, 4 * way(steps, false, 1, false).reduce, 1e-9);
    EXPECT_NEAR(way(steps, false, 2, false).exposed, 4 * way(steps, false, 1, false).exposed, 1e-9);
    EXPECT_DOUBLE_EQ(steps.front().forward, 0.4);
    EXPECT_DOUBLE_EQ(steps.front().update, 0.01);
}

TEST(Cluster, OverlapNeverShowsMoreNorHidesMoreThanTheBackwardPass) {
    for (const char* network : {"0.01", "0.1", "1", "10", "100"}) {
        const Cluster cluster =
            parse_cluster(std::string("hosts=2,gpus=1,forward=0.1,backward=0.2,network=") + network);
        const auto steps = predict(large_plan(2), cluster, std::nullopt);
        const double on = way(steps, false, 1, true).exposed;
        const double off = way(steps, false, 1, false).exposed;
        EXPECT_LE(on, off);
        EXPECT_GE(on, off - 0.2);
        EXPECT_GT(on, 0) << "what is complete at the very end cannot be hidden";
    }
}

TEST(Cluster, ManySmallGroupsAreGatheredTogether) {
    PlanConfig config;
    config.policy.kind = PolicyKind::layer_decay;
    config.total_steps = 10;
    config.world_size = 2;
    const Plan tiny = make_plan(testing::bert_manifest({.layers = 3, .hidden = 32, .intermediate = 64}), config);
    const Cluster cluster =
        parse_cluster("hosts=2,gpus=1,network=100,latency=1000,forward=1e-4,backward=2e-4,update=1e-4");
    const auto steps = predict(tiny, cluster, std::nullopt);
    EXPECT_LE(way(steps, false, 1, true).gather, way(steps, false, 1, false).gather + 1e-9);
    EXPECT_LT(way(steps, false, 1, false).gather, 2e-3) << "one piece, one latency";
}

TEST(Cluster, ComputeIsEstimatedFromTokens) {
    const Cluster cluster = parse_cluster("hosts=1,gpus=8,nvlink=370,tflops=400");
    const auto steps = predict(large_plan(8), cluster, 4096);
    ASSERT_EQ(steps.size(), 4U) << "one host";
    // 24 layers of 12 x 1024^2 elements, the pooler and a head, 2 operations each forward, 4 backward.
    const double products = 24.0 * 12 * 1024 * 1024 + 1024 * 1024;
    EXPECT_NEAR(steps.front().forward, 2 * products * 4096 / 400e12, 1e-2 * steps.front().forward);
    EXPECT_NEAR(steps.front().backward, 2 * steps.front().forward, 1e-2 * steps.front().backward);
}

TEST(Cluster, RefusesWhatMakesNoSense) {
    const auto refusal = [](const std::string& text) {
        return testing::message_of<UserError>([&] { parse_cluster(text); });
    };
    EXPECT_THAT(refusal("hosts=2,gpus=2,network=45"), HasSubstr("nvlink is missing"));
    EXPECT_THAT(refusal("hosts=2,gpus=1"), HasSubstr("network is missing"));
    EXPECT_THAT(refusal("hosts=2.5,gpus=1,network=1"), HasSubstr("whole number"));
    EXPECT_THAT(refusal("hosts=0,gpus=1"), HasSubstr("above 0"));
    EXPECT_THAT(refusal("hosts"), HasSubstr("name=number"));
    EXPECT_THAT(refusal("host=2"), HasSubstr("Did you mean 'hosts'"));
    const auto unknown = [] { predict(large_plan(1), parse_cluster("hosts=1,gpus=1"), std::nullopt); };
    EXPECT_THAT(testing::message_of<UserError>(unknown), HasSubstr("forward=..."));
}

}  // namespace
}  // namespace strata::optim
