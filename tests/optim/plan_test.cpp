#include "optim/plan.h"

#include "bert_manifest.h"
#include "core/error.h"
#include "optim/shard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <set>

namespace strata::optim {
namespace {

using testing::bert_manifest;
using ::testing::HasSubstr;
using testing::message_of;

PlanConfig base_config() {
    PlanConfig config;
    config.policy = {.kind = PolicyKind::layer_decay, .decay = 0.95};
    config.optimizer.weight_decay = 0.01;
    config.schedule.options.warmup_steps = 10;
    config.learning_rate = 2e-5;
    config.total_steps = 100;
    return config;
}

TEST(Plan, SegmentsLieBackToBackInRegistrationOrder) {
    const Manifest manifest = bert_manifest({});
    const Plan plan = make_plan(manifest, base_config());
    ASSERT_EQ(plan.groups.size(), 14U);
    std::size_t parameter = 0;
    for (const Group& group : plan.groups) {
        std::int64_t offset = 0;
        for (const Segment& segment : group.segments) {
            // BERT registers its parameters in the order of the groups.
            EXPECT_EQ(segment.name, manifest[parameter].name);
            EXPECT_EQ(segment.shape, manifest[parameter].shape);
            EXPECT_EQ(segment.offset, offset);
            EXPECT_EQ(segment.elements, manifest[parameter].elements());
            offset += segment.elements;
            ++parameter;
        }
        EXPECT_EQ(group.elements, offset);
    }
    EXPECT_EQ(parameter, manifest.size());
    EXPECT_EQ(plan.elements(), 109'482'240 + 1538);
}

TEST(Plan, RatesAreTheProductOfThreeFactors) {
    const Plan plan = make_plan(bert_manifest({}), base_config());
    for (const std::int64_t step : {0, 1, 9, 10, 11, 55, 99}) {
        const double schedule = step < 10 ? static_cast<double>(step) / 10.0 : static_cast<double>(100 - step) / 90.0;
        for (std::size_t g = 0; g < 14; ++g) {
            const double multiplier = std::pow(0.95, 13 - static_cast<double>(g));
            EXPECT_NEAR(plan.learning_rate(g, step), 2e-5 * multiplier * schedule, 2e-5 * 1e-12);
            EXPECT_TRUE(plan.trainable(g, step));
        }
    }
    EXPECT_EQ(plan.stage_at(0).name, "train");
    EXPECT_EQ(&plan.stage_at(99), &plan.stages.front());
    EXPECT_THROW(plan.stage_at(100), std::logic_error);
    EXPECT_THROW(plan.stage_at(-1), std::logic_error);
}

TEST(Plan, MultiplierZeroFreezesButKeepsTheGroup) {
    PlanConfig config = base_config();
    config.policy = {.kind = PolicyKind::two_part, .backbone_multiplier = 0.0};
    const Plan plan = make_plan(bert_manifest({}), config);
    ASSERT_EQ(plan.groups.size(), 2U);
    EXPECT_FALSE(plan.trainable(0, 50));
    EXPECT_TRUE(plan.trainable(1, 50));
    EXPECT_EQ(plan.learning_rate(0, 50), 0.0);
    EXPECT_GT(plan.learning_rate(1, 50), 0.0);
    const RankMemory memory = memory_per_rank(plan, 0, 0);
    EXPECT_EQ(memory.gradient_bytes, 4 * padded_elements(plan.groups[1].elements, 1));
    EXPECT_EQ(memory.state_bytes, 8 * plan.groups[1].elements);
    EXPECT_GT(memory.parameter_bytes, 4 * plan.groups[0].elements);
}

TEST(Plan, DecayIsAnAttributeOfTheSegment) {
    const Plan plan = make_plan(bert_manifest({}), base_config());
    const Segment& weight = plan.groups[1].segments[0];
    const Segment& bias = plan.groups[1].segments[1];
    EXPECT_EQ(plan.weight_decay(1, weight), 0.01);
    EXPECT_EQ(plan.weight_decay(1, bias), 0.0);
    EXPECT_THAT(bias.decay_reason, HasSubstr("bias"));
}

TEST(Plan, ARulesOwnFiguresWinOverTheOptimizers) {
    PlanConfig config = base_config();
    config.policy = {.kind = PolicyKind::rules};
    config.policy.rules = {{"encoder", {"bert.**"}, 1.0, {.weight_decay = 0.2, .beta1 = 0.8, .epsilon = 1e-6}},
                           {"classifier", {}, 1.0, {.beta2 = 0.9}}};
    const Plan plan = make_plan(bert_manifest({}), config);
    EXPECT_EQ(plan.weight_decay(0, plan.groups[0].segments[0]), 0.2);
    EXPECT_EQ(plan.weight_decay(1, plan.groups[1].segments[0]), 0.01);
    EXPECT_EQ(plan.weight_decay(1, plan.groups[1].segments[1]), 0.0);
    const OptimizerConfig encoder = plan.optimizer_of(0);
    EXPECT_EQ(encoder.weight_decay, 0.2);
    EXPECT_EQ(encoder.beta1, 0.8);
    EXPECT_EQ(encoder.beta2, 0.999);
    EXPECT_EQ(encoder.epsilon, 1e-6);
    EXPECT_EQ(plan.optimizer_of(1).beta2, 0.9);
    EXPECT_EQ(plan.optimizer_of(1).beta1, 0.9);
}

TEST(Plan, StateIsSharedOutWhole) {
    for (const int ranks : {1, 2, 3, 4, 7, 16}) {
        PlanConfig config = base_config();
        config.world_size = ranks;
        const Plan plan = make_plan(bert_manifest({}), config);
        std::int64_t state = 0;
        for (int rank = 0; rank < ranks; ++rank) {
            const RankMemory memory = memory_per_rank(plan, rank, 0);
            state += memory.state_bytes;
            const double share = static_cast<double>(memory.state_bytes) * ranks / (8.0 * 109'483'778);
            EXPECT_NEAR(share, 1.0, 0.002) << ranks << " ranks, rank " << rank;
            EXPECT_EQ(memory.parameter_bytes, memory_per_rank(plan, 0, 0).parameter_bytes);
        }
        EXPECT_EQ(state, 8 * plan.elements());
    }
}

TEST(Plan, SgdKeepsOneMomentOrNone) {
    PlanConfig config = base_config();
    config.optimizer = {.kind = OptimizerKind::sgd, .momentum = 0.9};
    EXPECT_EQ(memory_per_rank(make_plan(bert_manifest({}), config), 0, 0).state_bytes, 4 * (109'482'240 + 1538));
    config.optimizer.momentum = 0.0;
    EXPECT_EQ(memory_per_rank(make_plan(bert_manifest({}), config), 0, 0).state_bytes, 0);
}

TEST(PlanHash, IsTheSameOnEveryMachine) {
    const Plan plan = make_plan(bert_manifest({}), base_config());
    EXPECT_EQ(plan.hash(), 10462633266869798035U);
    EXPECT_EQ(plan.update_hash(), 4701002767817840300U);
    EXPECT_EQ(plan.hash(), make_plan(bert_manifest({}), base_config()).hash());
}

TEST(PlanHash, ChangesWithAnythingThatChangesTheUpdate) {
    const auto hash_of = [](const Manifest& manifest, const PlanConfig& config) {
        return make_plan(manifest, config).update_hash();
    };
    const Manifest manifest = bert_manifest({});
    const std::uint64_t before = hash_of(manifest, base_config());
    const std::vector<std::function<void(PlanConfig&)>> changes{
        [](PlanConfig& c) { c.policy.decay = 0.9500001; },
        [](PlanConfig& c) { c.policy.electra = true; },
        [](PlanConfig& c) { c.policy.pooler_with_head = false; },
        [](PlanConfig& c) { c.policy.kind = PolicyKind::single; },
        [](PlanConfig& c) { c.policy.no_decay = {"classifier"}; },
        [](PlanConfig& c) { c.optimizer.beta1 = 0.8; },
        [](PlanConfig& c) { c.optimizer.beta2 = 0.98; },
        [](PlanConfig& c) { c.optimizer.epsilon = 1e-6; },
        [](PlanConfig& c) { c.optimizer.weight_decay = 0.02; },
        [](PlanConfig& c) { c.optimizer.kind = OptimizerKind::sgd; },
        [](PlanConfig& c) { c.schedule.options.kind = ScheduleKind::constant; },
        [](PlanConfig& c) { c.schedule.options.warmup_steps = 11; },
        [](PlanConfig& c) { c.learning_rate = 3e-5; },
        [](PlanConfig& c) { c.total_steps = 101; },
        [](PlanConfig& c) {
            c.schedule = {{ScheduleKind::linear, 0, 0}, 0.2};
        },
        [](PlanConfig& c) { c.stages.resize(1); },
        [](PlanConfig& c) { c.stages.resize(1), c.stages[0].name = "other"; },
        [](PlanConfig& c) { c.stages.resize(1), c.stages[0].freeze_to = 1; },
        [](PlanConfig& c) {
            c.stages.resize(1), c.stages[0].slice = RateSlice{1e-6, 2e-5};
        },
        [](PlanConfig& c) {
            c.stages.resize(1), c.stages[0].slice = RateSlice{2e-6, 2e-5};
        },
        [](PlanConfig& c) { c.stages.resize(1), c.stages[0].on_unfreeze = OnUnfreeze::reset; },
        [](PlanConfig& c) { c.stages.resize(1), c.stages[0].learning_rate = 1e-5; },
    };
    std::set<std::uint64_t> seen{before};
    for (std::size_t i = 0; i < changes.size(); ++i) {
        PlanConfig config = base_config();
        changes[i](config);
        EXPECT_TRUE(seen.insert(hash_of(manifest, config)).second) << "change " << i;
    }
    Manifest renamed = manifest;
    renamed.back().name = "classifier.bias2.bias";
    EXPECT_NE(hash_of(renamed, base_config()), before);
    Manifest reshaped = manifest;
    reshaped[0].shape = {reshaped[0].shape[1], reshaped[0].shape[0]};
    EXPECT_NE(hash_of(reshaped, base_config()), before);

    for (const OptimizerOverrides& own :
         std::vector<OptimizerOverrides>{{}, {.weight_decay = 0.5}, {.beta1 = 0.5}, {.beta2 = 0.5}, {.epsilon = 0.5}}) {
        PlanConfig config = base_config();
        config.policy = {.kind = PolicyKind::rules};
        config.policy.rules = {{"everything", {"**"}, 1.0, own}};
        EXPECT_TRUE(seen.insert(hash_of(manifest, config)).second);
    }

    PlanConfig sgd = base_config();
    sgd.optimizer = {.kind = OptimizerKind::sgd, .momentum = 0.9};
    PlanConfig nesterov = sgd;
    nesterov.optimizer.nesterov = true;
    EXPECT_NE(hash_of(manifest, sgd), hash_of(manifest, nesterov));
}

TEST(PlanHash, KnowsTheFiguresOfScheduleAndOptimizer) {
    const Manifest manifest = bert_manifest({.layers = 1, .hidden = 8});
    std::set<std::uint64_t> hashes;
    const auto add = [&](const PlanConfig& config) { hashes.insert(make_plan(manifest, config).update_hash()); };
    PlanConfig cycle = base_config();
    cycle.schedule.options = {.kind = ScheduleKind::one_cycle};
    add(cycle);
    cycle.schedule.options.pct_start = 0.25;  // the default: the same plan
    add(cycle);
    EXPECT_EQ(hashes.size(), 1U);
    cycle.schedule.options.pct_start = 0.26;
    add(cycle);
    cycle.schedule.options.momentum_low = 0.8;
    add(cycle);
    cycle.schedule.options.kind = ScheduleKind::one_cycle_torch;
    add(cycle);
    EXPECT_EQ(hashes.size(), 4U);
    for (const OptimizerKind kind : {OptimizerKind::adamw, OptimizerKind::adam, OptimizerKind::lamb}) {
        PlanConfig config = base_config();
        config.optimizer.kind = kind;
        add(config);
        config.optimizer.beta1 = 0.8;
        add(config);
    }
    EXPECT_EQ(hashes.size(), 10U);
}

TEST(Plan, RefusesAScheduleThatMakesNoSense) {
    const Manifest manifest = bert_manifest({.layers = 1, .hidden = 8});
    PlanConfig config = base_config();
    config.schedule.options = {.kind = ScheduleKind::one_cycle, .warmup_steps = 10};
    EXPECT_THAT(message_of<UserError>([&] { make_plan(manifest, config); }),
                HasSubstr("The run: warmup_steps is not an option of schedule 'one_cycle'"));
    config.schedule.options = {.kind = ScheduleKind::step};
    EXPECT_THAT(message_of<UserError>([&] { make_plan(manifest, config); }), HasSubstr("The run: step_size"));
}

TEST(PlanHash, OnlyTheFullOneKnowsTheRanks) {
    PlanConfig config = base_config();
    const Plan one = make_plan(bert_manifest({}), config);
    config.world_size = 2;
    const Plan two = make_plan(bert_manifest({}), config);
    EXPECT_EQ(one.update_hash(), two.update_hash());
    EXPECT_NE(one.hash(), two.hash());
    config.replicas = 2;
    const Plan copies = make_plan(bert_manifest({}), config);
    EXPECT_EQ(copies.update_hash(), two.update_hash());
    EXPECT_NE(copies.hash(), two.hash());
}

TEST(Plan, ACopyOnEachHostCostsWhatTheFormulasSay) {
    PlanConfig config = base_config();
    config.world_size = 8;
    config.replicas = 2;
    const Plan plan = make_plan(bert_manifest({}), config);
    config.world_size = 4;
    config.replicas = 1;
    const Plan host = make_plan(bert_manifest({}), config);
    EXPECT_EQ(plan.owners(), 4);
    std::int64_t padded = 0;
    for (std::size_t g = 0; g < plan.groups.size(); ++g) padded += 4 * plan.padded_elements(g);
    const StepTraffic traffic = traffic_per_step(plan, 0);
    EXPECT_EQ(traffic.reduce_bytes, padded * 3 / 4);
    EXPECT_EQ(traffic.gather_bytes, padded * 3 / 4);
    EXPECT_EQ(traffic.across_bytes, padded / 4);  // 2 (S/4) (2 - 1) / 2
    for (int owner = 0; owner < 4; ++owner) {
        EXPECT_EQ(memory_per_rank(plan, owner, 0).state_bytes, memory_per_rank(host, owner, 0).state_bytes);
    }
    config.replicas = 2;
    config.world_size = 8;
    config.compute = ComputeType::bf16;
    for (const int micro_batches : {1, 2}) {
        config.micro_batches = micro_batches;
        const Plan short_plan = make_plan(bert_manifest({}), config);
        const StepTraffic sent = traffic_per_step(short_plan, 0);
        EXPECT_EQ(sent.reduce_bytes, micro_batches == 1 ? traffic.reduce_bytes / 2 : traffic.reduce_bytes);
        EXPECT_EQ(sent.gather_bytes, traffic.gather_bytes / 2);
        EXPECT_EQ(sent.across_bytes, traffic.across_bytes) << "sums are fp32";
        // 16-bit gradients and fp32 sums of a quarter of them; or fp32 gradients alone.
        EXPECT_EQ(memory_per_rank(short_plan, 0, 0).gradient_bytes, micro_batches == 1 ? padded * 3 / 4 : padded);
    }
    config.zero_stage = 2;
    config.deterministic = true;
    EXPECT_THAT(message_of<UserError>([&] { make_plan(bert_manifest({}), config); }), HasSubstr("--shard all"));
}

TEST(Plan, StochasticRoundingDropsTheMastersAndNothingElse) {
    PlanConfig config = base_config();
    config.world_size = 3;
    config.compute = ComputeType::bf16;
    const Plan masters = make_plan(bert_manifest({}), config);
    config.rounding_seed = 42;
    const Plan rounded = make_plan(bert_manifest({}), config);
    EXPECT_TRUE(masters.keeps_masters());
    EXPECT_FALSE(rounded.keeps_masters());
    std::int64_t dropped = 0;
    for (int owner = 0; owner < 3; ++owner) {
        const RankMemory with = memory_per_rank(masters, owner, 0);
        const RankMemory without = memory_per_rank(rounded, owner, 0);
        std::int64_t own = 0;
        for (std::size_t g = 0; g < rounded.groups.size(); ++g) own += rounded.slice(g, owner).size();
        EXPECT_EQ(with.state_bytes - without.state_bytes, 4 * own);
        EXPECT_EQ(with.parameter_bytes, without.parameter_bytes);
        EXPECT_EQ(with.gradient_bytes, without.gradient_bytes);
        dropped += 4 * own;
    }
    EXPECT_EQ(dropped, 4 * rounded.elements());
    EXPECT_EQ(traffic_per_step(rounded, 0).sum(), traffic_per_step(masters, 0).sum());
    EXPECT_NE(rounded.update_hash(), masters.update_hash());
    EXPECT_NE(rounded.hash(), masters.hash());
    config.rounding_seed = 43;
    EXPECT_NE(make_plan(bert_manifest({}), config).update_hash(), rounded.update_hash());
    for (const ComputeType type : {ComputeType::fp32, ComputeType::fp16}) {
        config.compute = type;
        EXPECT_THROW(make_plan(bert_manifest({}), config), std::logic_error) << "a check: options say it before";
    }
}

TEST(Plan, RefusesWhatMakesNoSense) {
    const Manifest manifest = bert_manifest({.layers = 1, .hidden = 8});
    const auto refusal = [&](const std::function<void(PlanConfig&)>& change) {
        PlanConfig config = base_config();
        change(config);
        return message_of<UserError>([&] { make_plan(manifest, config); });
    };
    EXPECT_THAT(refusal([](PlanConfig& c) { c.total_steps = 0; }), HasSubstr("at least one"));
    EXPECT_THAT(refusal([](PlanConfig& c) { c.schedule.options.warmup_steps = -1; }), HasSubstr("warmup_steps"));
    EXPECT_THAT(refusal([](PlanConfig& c) { c.schedule.options.warmup_steps = 101; }),
                HasSubstr("The run: the warm-up of 101 steps is longer than its 100"));
    EXPECT_THAT(refusal([](PlanConfig& c) { c.learning_rate = -1; }), HasSubstr("learning_rate"));
    EXPECT_THAT(refusal([](PlanConfig& c) { c.learning_rate = std::nan(""); }), HasSubstr("learning_rate"));
    EXPECT_THAT(refusal([](PlanConfig& c) { c.world_size = 0; }), HasSubstr("at least one"));
    EXPECT_THAT(refusal([](PlanConfig& c) { c.zero_stage = 3; }), HasSubstr("zero_stage 3"));
    EXPECT_THAT(refusal([](PlanConfig& c) { c.optimizer.beta1 = 1.0; }), HasSubstr("adam_beta1"));
    EXPECT_THAT(refusal([](PlanConfig& c) { c.optimizer.beta2 = -0.1; }), HasSubstr("adam_beta2"));
    EXPECT_THAT(refusal([](PlanConfig& c) { c.optimizer.epsilon = -1; }), HasSubstr("adam_epsilon"));
    EXPECT_THAT(refusal([](PlanConfig& c) { c.optimizer.weight_decay = -1; }), HasSubstr("weight_decay"));
    EXPECT_THAT(refusal([](PlanConfig& c) { c.optimizer.momentum = 1; }), HasSubstr("momentum"));
    EXPECT_THAT(refusal([](PlanConfig& c) { c.optimizer.nesterov = true; }), HasSubstr("momentum"));
    EXPECT_THAT(refusal([](PlanConfig& c) { c.policy.no_decay = {"nothing"}; }), HasSubstr("no_decay"));
    EXPECT_EQ(refusal([](PlanConfig& c) { c.schedule.options.warmup_steps = 100; }), "");
}

}  // namespace
}  // namespace strata::optim
