#include "optim/plan_output.h"

#include "bert_manifest.h"
#include "core/error.h"
#include "optim/text_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <sstream>

namespace strata::optim {
namespace {

using ::testing::AllOf;
using testing::bert_manifest;
using ::testing::HasSubstr;
using ::testing::Not;

PlanConfig config_for(std::int64_t steps, int ranks) {
    PlanConfig config;
    config.policy = {.kind = PolicyKind::layer_decay, .decay = 0.95};
    config.optimizer.weight_decay = 0.01;
    config.warmup_steps = steps / 10;
    config.learning_rate = 2e-5;
    config.total_steps = steps;
    config.world_size = ranks;
    return config;
}

Plan base_plan(std::int64_t steps = 100, int ranks = 2) {
    return make_plan(bert_manifest({}), config_for(steps, ranks));
}

Plan frozen_plan() {
    PlanConfig config = config_for(20, 1);
    config.policy = {.kind = PolicyKind::two_part, .backbone_multiplier = 0.0};
    return make_plan(bert_manifest({}), config);
}

TEST(RateRange, StartPeakAndEnd) {
    const RateRange head = rate_range(base_plan(), 13);
    EXPECT_EQ(head.start, 0.0);
    EXPECT_NEAR(head.peak, 2e-5, 1e-18);
    EXPECT_NEAR(head.end, 2e-5 / 90, 1e-18);
    EXPECT_EQ(rate_range(frozen_plan(), 0).peak, 0.0);
}

TEST(PlanTable, ShowsGroupsTotalsAndMemory) {
    const std::string table = plan_table(base_plan());
    EXPECT_THAT(table, AllOf(HasSubstr("policy layer-decay, 14 groups, 2 ranks"), HasSubstr("23,837,184"),
                             HasSubstr("0.513342"), HasSubstr("2.000e-05"), HasSubstr("0.01 on 6 of 16"),
                             HasSubstr("109,483,778"), HasSubstr("201"), HasSubstr("417.6 MiB")));
    EXPECT_THAT(table, Not(HasSubstr(" \n")));
    EXPECT_TRUE(table.ends_with('\n'));
}

TEST(PlanTable, ColumnsLineUp) {
    const std::string table = plan_table(base_plan());
    std::istringstream lines(table);
    std::size_t header_end = 0;
    int rows = 0;
    for (std::string line; std::getline(lines, line);) {
        if (line.starts_with("group ")) header_end = line.find("elements") + 8;
        if (line.starts_with("layer_")) {
            EXPECT_EQ(line.substr(header_end - 9, 9), "7,087,872") << line;
            EXPECT_EQ(line[header_end], ' ') << line;
            ++rows;
        }
    }
    EXPECT_EQ(rows, 12);
}

TEST(PlanTable, SaysWhatIsFrozen) {
    EXPECT_THAT(plan_table(frozen_plan()), AllOf(HasSubstr("frozen"), HasSubstr("592,130")));
}

TEST(PlanCsv, OneRowForEachStepAndGroupThatReadsBackExactly) {
    const Plan plan = base_plan(25);
    std::istringstream lines(plan_csv(plan));
    std::string line;
    std::getline(lines, line);
    EXPECT_EQ(line, "step,stage,group,trainable,lr");
    for (std::int64_t step = 0; step < 25; ++step) {
        for (std::size_t g = 0; g < 14; ++g) {
            ASSERT_TRUE(std::getline(lines, line));
            const std::string expected = fmt::format("{},train,{},1,", step, plan.groups[g].name);
            ASSERT_TRUE(line.starts_with(expected)) << line;
            EXPECT_EQ(std::strtod(line.c_str() + expected.size(), nullptr), plan.learning_rate(g, step));
        }
    }
    EXPECT_FALSE(std::getline(lines, line));
    EXPECT_THAT(plan_csv(frozen_plan()), HasSubstr("\n7,train,backbone,0,0\n7,train,head,1,"));
}

TEST(PlanJson, CarriesThePlanAndReadsBackExactly) {
    const Plan plan = base_plan();
    const auto json = nlohmann::json::parse(plan_json(plan).dump());
    ASSERT_EQ(json["groups"].size(), 14U);
    EXPECT_EQ(json["elements"], 109'483'778);
    EXPECT_EQ(json["parameters"], 201);
    EXPECT_EQ(json["total_steps"], 100);
    EXPECT_EQ(json["policy"], "layer-decay");
    EXPECT_EQ(json["hash"], fmt::format("{:016x}", plan.hash()));
    std::size_t names = 0;
    for (std::size_t g = 0; g < 14; ++g) {
        const auto& group = json["groups"][g];
        EXPECT_EQ(group["name"], plan.groups[g].name);
        EXPECT_EQ(group["elements"], plan.groups[g].elements);
        EXPECT_EQ(group["multiplier"].get<double>(), plan.groups[g].multiplier);
        EXPECT_EQ(group["learning_rate"]["peak"].get<double>(), rate_range(plan, g).peak);
        EXPECT_EQ(group["trainable"], true);
        names += group["parameters"].size();
    }
    EXPECT_EQ(names, 201U);
    EXPECT_EQ(json["groups"][13]["parameters"][3], "classifier.bias");
    EXPECT_EQ(json["groups"][13]["segments"][3]["weight_decay"], 0.0);
    EXPECT_EQ(json["groups"][13]["segments"][2]["weight_decay"], 0.01);
    ASSERT_EQ(json["memory"].size(), 2U);
    EXPECT_EQ(json["memory"][1]["state_bytes"], memory_per_rank(plan, 1, 0).state_bytes);
}

TEST(Explain, SaysWhereAParameterIsAndWhy) {
    const Plan plan = base_plan();
    EXPECT_THAT(explain(plan, "bert.encoder.layer.3.output.LayerNorm.weight"),
                AllOf(HasSubstr("layer_3"), HasSubstr("5 of 14"), HasSubstr("768 elements"),
                      HasSubstr("'LayerNorm' is a normalisation layer")));
    EXPECT_THAT(explain(plan, "classifier.weight"), AllOf(HasSubstr("head"), HasSubstr("0.01: it is neither")));
    EXPECT_THAT(explain(frozen_plan(), "bert.embeddings.word_embeddings.weight"), HasSubstr("frozen"));
    const std::string message = testing::message_of<UserError>([&] { explain(plan, "clasifier.weight"); });
    EXPECT_THAT(message, AllOf(HasSubstr("'clasifier.weight'"), HasSubstr("Nearest names: classifier.weight, ")));
}

TEST(TextTable, NumbersForPeople) {
    EXPECT_EQ(grouped_digits(0), "0");
    EXPECT_EQ(grouped_digits(999), "999");
    EXPECT_EQ(grouped_digits(1000), "1,000");
    EXPECT_EQ(grouped_digits(-123456), "-123,456");
    EXPECT_EQ(grouped_digits(109482240), "109,482,240");
    EXPECT_EQ(byte_text(96), "96 B");
    EXPECT_EQ(byte_text(1536), "1.5 KiB");
    EXPECT_EQ(byte_text(std::int64_t{5} << 40), "5.0 TiB");
}

}  // namespace
}  // namespace strata::optim
