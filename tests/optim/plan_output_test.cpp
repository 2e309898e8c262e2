#include "optim/plan_output.h"

#include "bert_manifest.h"
#include "core/error.h"
#include "model_manifests.h"
#include "optim/text_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <sstream>
#include <utility>

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
    config.schedule.options.warmup_steps = steps / 10;
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

TEST(PlanOutput, SaysHowWeightsOf16BitsAreKept) {
    PlanConfig config = config_for(100, 2);
    EXPECT_EQ(plan_json(make_plan(bert_manifest({}), config)).at("stochastic_rounding"), false);
    config.compute = ComputeType::bf16;
    EXPECT_THAT(plan_table(make_plan(bert_manifest({}), config)), HasSubstr("ZeRO stage 1, bf16 with fp32 masters\n"));
    config.rounding_seed = 42;
    const Plan plan = make_plan(bert_manifest({}), config);
    EXPECT_THAT(plan_table(plan), HasSubstr("ZeRO stage 1, bf16 rounded stochastically\n"));
    EXPECT_EQ(plan_json(plan).at("stochastic_rounding"), true);
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

/// Head alone, then a slice over all: two stages of a two-part ResNet.
Plan staged_plan(int ranks = 2) {
    PlanConfig config = config_for(40, ranks);
    config.policy = {.kind = PolicyKind::two_part};
    config.stages.resize(3);
    config.stages[0].length = parse_length("10u");
    config.stages[0].freeze_to = -1;
    config.stages[1].length = parse_length("10u");
    config.stages[1].slice = RateSlice{1e-5, 1e-3};
    config.stages[1].name = "slice";
    config.stages[2].groups = {"head"};
    return make_plan(testing::resnet18_manifest(), config);
}

TEST(PlanTable, ShowsEachStage) {
    const std::string table = plan_table(staged_plan());
    EXPECT_THAT(table, AllOf(HasSubstr("3 stages, 40 steps"), HasSubstr("10-19"), HasSubstr("always"),
                             HasSubstr("Stage slice: steps 10 to 19, learning rate 0.001"),
                             HasSubstr("\nbackbone    0.010000"), HasSubstr("1.000e-05"), HasSubstr("thaws"),
                             HasSubstr("frozen: backbone (1 group)"), HasSubstr("42.6 MiB"), HasSubstr("127.9 MiB")));
    EXPECT_THAT(table, Not(HasSubstr(" \n")));
}

TEST(PlanOutput, ShowsWhatTheModelTakesWhereThatIsKnown) {
    const Plan plan = staged_plan();
    ModelCosts costs{8, 128, 200 << 20, {}};
    for (std::size_t s = 0; s < plan.stages.size(); ++s) costs.stages.push_back({10 << 20, s == 0 ? 3 << 10 : 0});
    const std::string table = plan_table(plan, costs);
    EXPECT_THAT(table, AllOf(HasSubstr("an estimate for 8 sequences of 128 tokens"), HasSubstr("about 200.0 MiB more"),
                             HasSubstr("kept outputs"), HasSubstr("3.0 KiB"), HasSubstr("~10.0 MiB")));
    EXPECT_THAT(plan_table(plan), AllOf(HasSubstr("activations apart"), Not(HasSubstr("kept outputs"))));
    const nlohmann::json stage = plan_json(plan, costs)["stages"][0];
    EXPECT_EQ(stage["kept_output_bytes"], 3 << 10);
    EXPECT_EQ(stage["activations"]["estimated_bytes"], 10 << 20);
    EXPECT_EQ(stage["activations"]["length"], 128);
    EXPECT_EQ(stage["process_bytes"], 200 << 20);
    EXPECT_FALSE(plan_json(plan)["stages"][0].contains("activations"));
}

TEST(PlanTable, ShowsWhatAGroupHasOfItsOwn) {
    PlanConfig config = config_for(20, 1);
    config.policy = {.kind = PolicyKind::rules};
    config.policy.rules = {{"part1", {}, 0.1, {.weight_decay = 0.3, .beta1 = 0.8, .epsilon = 1e-6}}, {"part2"}};
    const Plan plan = make_plan(testing::sample_manifest(), config);
    EXPECT_THAT(plan_table(plan),
                AllOf(HasSubstr("0.3 on 1 of 2"), HasSubstr("Group part1 has its own beta1 0.8, epsilon 1e-06")));
    EXPECT_THAT(explain(plan, "part1.weight"), HasSubstr("weight decay   0.3: "));
    const auto json = plan_json(plan);
    EXPECT_EQ(json["groups"][0]["weight_decay"], 0.3);
    EXPECT_EQ(json["groups"][0]["overrides"],
              (nlohmann::json{{"weight_decay", 0.3}, {"beta1", 0.8}, {"epsilon", 1e-6}}));
    EXPECT_EQ(json["groups"][1]["overrides"], nlohmann::json::object());
}

TEST(PlanOutput, NamesEveryOptimizerAndTheScheduleInForce) {
    PlanConfig config = config_for(20, 1);
    config.schedule.options = {.kind = ScheduleKind::one_cycle_torch, .div = 5.0};
    for (const auto& [kind, title] : {std::pair{OptimizerKind::adam, "Adam"}, {OptimizerKind::lamb, "LAMB"}}) {
        config.optimizer.kind = kind;
        const Plan plan = make_plan(bert_manifest({}), config);
        const std::string table = plan_table(plan);
        EXPECT_THAT(table, HasSubstr(fmt::format("Optimizer: {}, beta1 0.9, beta2", title)));
        EXPECT_THAT(table, HasSubstr("one_cycle_torch\n"));
        const auto json = plan_json(plan);
        EXPECT_EQ(json["optimizer"]["name"], optimizer_name(kind));
        EXPECT_EQ(json["optimizer"]["beta2"], 0.999);
        const auto& options = json["stages"][0]["schedule_options"];
        EXPECT_EQ(options["div"], 5.0);
        EXPECT_EQ(options["div_final"], 1e4);
        EXPECT_EQ(options["cycle_momentum"], true);
        EXPECT_FALSE(options.contains("ratio"));
    }
}

TEST(PlanCsv, CarriesStages) {
    const Plan plan = staged_plan();
    EXPECT_THAT(plan_csv(plan),
                AllOf(HasSubstr("\n9,stage_1,backbone,0,0\n"), HasSubstr("\n14,slice,backbone,1,1e-05\n"),
                      HasSubstr("\n39,stage_3,backbone,0,0\n39,stage_3,head,1,")));
}

TEST(PlanJson, CarriesStagesAndTransitions) {
    const Plan plan = staged_plan();
    const auto json = nlohmann::json::parse(plan_json(plan).dump());
    ASSERT_EQ(json["stages"].size(), 3U);
    const auto& slice = json["stages"][1];
    EXPECT_EQ(slice["name"], "slice");
    EXPECT_EQ(slice["on_unfreeze"], "keep");
    EXPECT_EQ(json["stages"][0]["groups"][0]["trainable"], false);
    EXPECT_EQ(json["stages"][0]["groups"][0]["learning_rate"]["peak"], 0.0);
    EXPECT_GT(json["stages"][0]["groups"][1]["learning_rate"]["peak"], 0.0);
    EXPECT_EQ(slice["groups"][0]["learning_rate"]["peak"].get<double>(), plan.learning_rate(0, 14));
    EXPECT_EQ(slice["groups"][0]["multiplier"].get<double>(), plan.stages[1].multipliers[0]);
    EXPECT_EQ(slice["memory"][1]["gradient_bytes"], memory_per_rank(plan, 1, 10).gradient_bytes);
    EXPECT_EQ(slice["traffic"]["reduce_bytes"], traffic_per_step(plan, 10).reduce_bytes);
    EXPECT_EQ(json["memory"][1], slice["memory"][1]);
    EXPECT_EQ(json["groups"][0]["trainable"], false);
    EXPECT_EQ(json["groups"][0]["learning_rate"]["peak"], slice["groups"][0]["learning_rate"]["peak"]);
    ASSERT_EQ(json["transitions"].size(), 3U);
    EXPECT_EQ(json["transitions"][1],
              (nlohmann::json{
                  {"step", 10}, {"stage", "slice"}, {"group", "backbone"}, {"kind", "thaw"}, {"keeps_state", false}}));
    EXPECT_EQ(json["transitions"][2]["kind"], "freeze");
}

std::size_t count_of(const std::string& text, std::string_view part) {
    std::size_t count = 0;
    for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
    return count;
}

TEST(PlanSvg, ALineAGroupABandAStage) {
    const std::string svg = plan_svg(staged_plan());
    EXPECT_TRUE(svg.starts_with("<svg xmlns="));
    EXPECT_TRUE(svg.ends_with("</svg>\n"));
    EXPECT_EQ(count_of(svg, "<path class=\"line g"), 2U);
    EXPECT_EQ(count_of(svg, "<rect class=\"band\""), 3U);
    EXPECT_THAT(svg, AllOf(HasSubstr(">slice</text>"), HasSubstr("<title>backbone</title>"),
                           HasSubstr("prefers-color-scheme:dark"), HasSubstr("(logarithmic)")));
    EXPECT_THAT(svg,
                AllOf(Not(HasSubstr("<script")), Not(HasSubstr("href")), Not(HasSubstr("nan")), Not(HasSubstr("inf"))));
    // The head learns in every stage, the backbone in one.
    const std::size_t head = svg.find("<path", svg.find("<path") + 1);
    EXPECT_EQ(count_of(svg.substr(svg.find("<path"), head - svg.find("<path")), "M"), 1U);
    EXPECT_EQ(count_of(svg.substr(head, svg.find("<title>", head) - head), "M"), 3U);
}

TEST(PlanSvg, DrawsTheRates) {
    PlanConfig config = config_for(1, 1);
    config.policy = {};
    config.schedule.options = {ScheduleKind::constant, 0, 0};
    config.total_steps = 10;
    // One level line at 1 of 1.05 of the height, from edge to edge.
    EXPECT_THAT(plan_svg(make_plan(testing::sample_manifest(), config)), HasSubstr("d=\"M76.0 84.8L940.0 84.8\""));
    config.learning_rate = 0.0;
    EXPECT_THAT(plan_svg(make_plan(testing::sample_manifest(), config)), HasSubstr("d=\"M76.0 420.0L940.0 420.0\""));
}

TEST(PlanSvg, StaysSmallHoweverLongTheRun) {
    PlanConfig config = config_for(1'000'000, 1);
    config.policy = {.kind = PolicyKind::parameter_decay};
    const std::string svg = plan_svg(make_plan(testing::resnet18_manifest(), config));
    EXPECT_EQ(count_of(svg, "<path class=\"line g"), 62U);
    EXPECT_LT(svg.size(), 1'500'000U);
    EXPECT_THAT(svg, AllOf(HasSubstr("(32 groups named)"), HasSubstr(">fc.bias ")));
}

TEST(Explain, SaysEachStage) {
    EXPECT_THAT(explain(staged_plan(), "conv1.weight"),
                AllOf(HasSubstr("stage 'stage_1', steps 0 to 9: none: the group is frozen"),
                      HasSubstr("stage 'slice', steps 10 to 19: starts at 0, peaks at 1e-05")));
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
