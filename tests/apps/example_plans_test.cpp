// The examples under examples/plans are what the articles that people learn this from do, in Strata's words.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "apps/strata/options.h"
#include "apps/strata/train_plan.h"

namespace strata::app {
namespace {
namespace fs = std::filesystem;

optim::Plan plan_of(const std::string& name) {
    const std::string root = std::string(STRATA_FIXTURES) + "/../../";
    const std::string file = root + "examples/plans/" + name + ".toml";
    const char* arguments[] = {"strata", "plan", "--config", file.c_str(), "--bf16", "false"};
    const Config config = parse_command_line(6, arguments).config;
    return make_train_plan(config, optim::read_manifest(root + config.manifest),
                           run_length(config, config.train_samples, 1), 1);
}

double multiplied(const optim::Plan& plan, std::size_t group) {
    return plan.stages[0].learning_rate * plan.groups.at(group).multiplier;
}

TEST(ExamplePlans, every_file_makes_a_plan) {
    int files = 0;
    for (const auto& entry : fs::directory_iterator(std::string(STRATA_FIXTURES) + "/../../examples/plans")) {
        if (entry.path().extension() != ".toml") continue;
        EXPECT_NO_THROW(plan_of(entry.path().stem().string())) << entry.path();
        ++files;
    }
    EXPECT_EQ(files, 6);
}

TEST(ExamplePlans, bert_layer_decay) {
    const optim::Plan plan = plan_of("bert_layer_decay");
    ASSERT_EQ(plan.groups.size(), 14u);
    EXPECT_EQ(plan.elements(), 109'482'240 + 2 * 768 + 2);
    EXPECT_NEAR(plan.groups[0].multiplier, std::pow(0.95, 13), 1e-12);
    EXPECT_EQ(plan.total_steps, 3 * 2105);
}

TEST(ExamplePlans, bert_two_stages) {
    const optim::Plan plan = plan_of("bert_two_stages");
    EXPECT_EQ(plan.total_steps, 4 * 2105);
    EXPECT_EQ(plan.stages[0].trainable, (std::vector<bool>{false, true}));
    EXPECT_EQ(plan.stages[1].trainable, (std::vector<bool>{true, true}));
    const std::int64_t peak = plan.stages[1].first_step + plan.stages[1].schedule.warmup_steps;
    EXPECT_NEAR(plan.learning_rate(0, peak), 2e-6, 1e-15);
    EXPECT_NEAR(plan.learning_rate(1, peak), 2e-5, 1e-15);
}

TEST(ExamplePlans, fastai_text) {
    const optim::Plan plan = plan_of("fastai_text");
    ASSERT_EQ(plan.stages.size(), 4u);
    EXPECT_EQ(plan.total_steps, 5 * 391);
    const double rates[] = {0, 1e-2, 5e-3, 1e-3};
    for (std::size_t s = 1; s < 4; ++s) {
        const optim::Stage& stage = plan.stages[s];
        EXPECT_EQ(stage.schedule.kind, optim::ScheduleKind::one_cycle);
        EXPECT_EQ(stage.on_unfreeze, optim::OnUnfreeze::reset_all);
        for (std::size_t g = 0; g < 5; ++g) {
            EXPECT_EQ(stage.trainable[g], s == 3 || g >= 4 - s) << stage.name;
            const double rate = rates[s] / std::pow(2.6, 4 - static_cast<double>(g));
            EXPECT_NEAR(stage.learning_rate * stage.multipliers[g] / rate, 1.0, 1e-9) << stage.name << " " << g;
        }
    }
}

TEST(ExamplePlans, resnet18) {
    const optim::Plan layers = plan_of("resnet18_multipliers");
    ASSERT_EQ(layers.groups.size(), 6u);
    const double expected[] = {0.01, 0.01, 0.05, 0.1, 0.5, 1.0};
    for (std::size_t g = 0; g < 6; ++g) EXPECT_EQ(layers.groups[g].multiplier, expected[g]);
    const optim::Plan tensors = plan_of("resnet18_parameter_decay");
    ASSERT_EQ(tensors.groups.size(), 62u);
    EXPECT_NEAR(multiplied(tensors, 61), 0.01, 1e-12);     // fc.bias
    EXPECT_NEAR(multiplied(tensors, 60), 0.009, 1e-12);    // fc.weight
    EXPECT_NEAR(multiplied(tensors, 0), 1.6e-5, 0.05e-5);  // conv1.weight
}

TEST(ExamplePlans, two_layers) {
    const optim::Plan plan = plan_of("two_layers");
    ASSERT_EQ(plan.groups.size(), 2u);
    EXPECT_EQ(plan.optimizer.kind, optim::OptimizerKind::sgd);
    EXPECT_EQ(plan.optimizer.momentum, 0.9);
    EXPECT_NEAR(plan.learning_rate(0, 2), 0.001, 1e-15);
    EXPECT_NEAR(plan.learning_rate(1, 2), 0.01, 1e-15);
}

}  // namespace
}  // namespace strata::app
