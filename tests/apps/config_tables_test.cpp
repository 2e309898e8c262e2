#include "apps/strata/config_tables.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "apps/strata/config_changes.h"
#include "apps/strata/options.h"
#include "apps/strata/train_plan.h"
#include "core/error.h"

namespace strata::app {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class ConfigTables : public testing::Test {
  protected:
    ~ConfigTables() override { std::filesystem::remove(path_); }

    Config parse(const std::string& text, std::vector<const char*> flags = {}, const char* command = "plan") {
        std::ofstream(path_) << text;
        std::vector<const char*> arguments = {"strata", command, "--config", path_.c_str(), "--bf16", "false"};
        arguments.insert(arguments.end(), flags.begin(), flags.end());
        return parse_command_line(static_cast<int>(arguments.size()), arguments.data()).config;
    }

    /// The message of reading the file and planning with it, 20 updates an epoch.
    std::string error_of(const std::string& text, std::vector<const char*> flags = {}) {
        try {
            plan(parse(text, flags));
        } catch (const UserError& error) {
            return error.what();
        }
        return "no error";
    }

    static optim::Plan plan(const Config& config, std::optional<std::int64_t> samples = 160) {
        const optim::Manifest manifest = {{"a.w", {4}}, {"b.w", {4}}, {"c.w", {4}}};
        return make_train_plan(config, manifest, run_length(config, samples, 1), 1);
    }

    // ctest runs tests side by side: the process number keeps their files apart.
    std::string path_ =
        (std::filesystem::path(testing::TempDir()) / (std::to_string(::getpid()) + "_run.toml")).string();
};

const char* const three_stages = R"(learning_rate = 1.0
lr_scheduler_type = "constant"
[groups]
policy = "prefix-decay"
decay = 0.5
[[stage]]
name = "head"
length = "1e"
freeze_to = -1
[[stage]]
length = "10u"
groups = ["b", "c"]
slice = [0.1, 0.4]
on_unfreeze = "reset"
[[stage]]
name = "all"
length = "0.5e"
learning_rate = 0.2
schedule = "linear"
warmup_ratio = 0.5
)";

TEST_F(ConfigTables, stages_have_groups_rates_and_schedules_of_their_own) {
    const optim::Plan made = plan(parse(three_stages));
    ASSERT_EQ(made.stages.size(), 3u);
    EXPECT_EQ(made.total_steps, 40);  // as long as the stages
    EXPECT_EQ(made.stages[1].name, "stage_2");
    EXPECT_EQ(made.stages[1].first_step, 20);
    EXPECT_EQ(made.stages[2].first_step, 30);
    EXPECT_EQ(made.stages[0].trainable, (std::vector<bool>{false, false, true}));
    EXPECT_EQ(made.stages[1].trainable, (std::vector<bool>{false, true, true}));
    EXPECT_EQ(made.stages[1].on_unfreeze, optim::OnUnfreeze::reset);
    EXPECT_NEAR(made.learning_rate(1, 20), 0.2, 1e-15);
    EXPECT_DOUBLE_EQ(made.learning_rate(2, 20), 0.4);
    EXPECT_EQ(made.stages[2].schedule.warmup_steps, 5);
    EXPECT_DOUBLE_EQ(made.learning_rate(0, 35), 0.2 * 0.25);
    EXPECT_DOUBLE_EQ(made.learning_rate(2, 39), 0.2 * 0.2);
}

TEST_F(ConfigTables, a_stage_says_only_what_differs_from_the_run) {
    const Config config = parse(
        "warmup_steps = 4\nmax_steps = 20\n[[stage]]\nlength = \"50%\"\nwarmup_steps = 2\n[[stage]]\n"
        "schedule = \"constant\"\n");
    const optim::Plan made = plan(config);
    EXPECT_EQ(made.stages[0].schedule.kind, optim::ScheduleKind::linear);
    EXPECT_EQ(made.stages[0].schedule.warmup_steps, 2);
    EXPECT_EQ(made.stages[1].schedule.kind, optim::ScheduleKind::constant);
    EXPECT_EQ(made.stages[1].schedule.warmup_steps, 4);
    // A schedule that rises by its own figures does not take the run's warm-up.
    const optim::Plan cycle = plan(parse("warmup_steps = 4\nmax_steps = 20\n[[stage]]\nschedule = \"one_cycle\"\n"));
    EXPECT_EQ(cycle.stages[0].schedule.warmup_steps, 0);
}

TEST_F(ConfigTables, groups_by_hand) {
    const Config config = parse(R"(max_steps = 5
[[group]]
name = "low"
match = ["a.**", "b.*"]
multiplier = 0.1
weight_decay = 0.2
adam_beta1 = 0.8
[[group]]
name = "c"
adam_epsilon = 1e-6
)");
    const optim::Plan made = plan(config);
    EXPECT_EQ(made.policy, optim::PolicyKind::rules);
    ASSERT_EQ(made.groups.size(), 2u);
    EXPECT_EQ(made.groups[0].segments.size(), 2u);
    EXPECT_DOUBLE_EQ(made.groups[0].multiplier, 0.1);
    EXPECT_EQ(made.groups[0].overrides.weight_decay, 0.2);
    EXPECT_EQ(made.groups[0].overrides.beta1, 0.8);
    EXPECT_EQ(made.groups[1].overrides.epsilon, 1e-6);
    EXPECT_DOUBLE_EQ(made.groups[1].multiplier, 1.0);
}

TEST_F(ConfigTables, a_slice_over_groups_by_hand) {
    const optim::Plan made =
        plan(parse("max_steps = 5\nlearning_rate = 1.0\nlr_scheduler_type = \"constant\"\n[groups]\n"
                   "policy = \"slice\"\nlow = 0.01\nhigh = 1\n[[group]]\nname = \"a\"\n"
                   "[[group]]\nname = \"b\"\n[[group]]\nname = \"c\"\n"));
    EXPECT_NEAR(made.learning_rate(1, 0), 0.1, 1e-12);
}

TEST_F(ConfigTables, gradual_and_fine_tune) {
    const std::string run = "max_steps = 100\nlearning_rate = 1.0\n[groups]\npolicy = \"prefix-decay\"\n";
    const optim::Plan gradual = plan(parse(run + "[gradual]\neach = \"10u\"\non_unfreeze = \"reset\"\n"));
    ASSERT_EQ(gradual.stages.size(), 3u);
    EXPECT_EQ(gradual.stages[2].first_step, 20);
    EXPECT_EQ(gradual.stages[1].on_unfreeze, optim::OnUnfreeze::reset);
    EXPECT_EQ(plan(parse(run + "[gradual]\n")).stages[1].first_step, 20);  // an epoch each
    const optim::Plan tuned = plan(parse(run + "[fine_tune]\nfreeze_epochs = 2\nlr_mult = 50\n"));
    ASSERT_EQ(tuned.stages.size(), 2u);
    EXPECT_EQ(tuned.stages[1].first_step, 40);
    EXPECT_NEAR(tuned.stages[1].learning_rate * tuned.stages[1].multipliers[0], 0.01, 1e-12);
}

TEST_F(ConfigTables, a_schedule_s_figures_are_keys_of_the_run_and_of_a_stage) {
    const std::string run =
        "max_steps = 40\nlearning_rate = 1.0\nlr_scheduler_type = \"step\"\nstep_size = 5\ngamma = 0.5\n"
        "[[stage]]\nlength = \"10u\"\n"                                  // the run's
        "[[stage]]\nlength = \"10u\"\ngamma = 0.1\n"                     // the run's kind, a figure of its own
        "[[stage]]\nlength = \"10u\"\nschedule = \"one_cycle_torch\"\n"  // another kind takes none of the run's
        "pct_start = 0.5\nanneal_linear = true\ncycle_momentum = false\n"
        "[[stage]]\nschedule = \"one_cycle\"\ndiv = 10\n";
    const optim::Plan made = plan(parse(run));
    EXPECT_DOUBLE_EQ(made.learning_rate(0, 5), 0.5);
    EXPECT_DOUBLE_EQ(made.learning_rate(0, 15), 0.1);
    EXPECT_DOUBLE_EQ(made.learning_rate(0, 20), 1.0 / 25);
    EXPECT_DOUBLE_EQ(made.learning_rate(0, 22), 1.0 / 25 + (1 - 1.0 / 25) / 2);  // straight to its peak at update 4
    EXPECT_FALSE(optim::momentum(made.stages[2].schedule, 2).has_value());
    EXPECT_DOUBLE_EQ(made.learning_rate(0, 30), 0.1);
    EXPECT_TRUE(optim::momentum(made.stages[3].schedule, 0).has_value());
}

TEST_F(ConfigTables, figures_that_a_schedule_lacks_or_cannot_have_are_refused_at_their_place) {
    EXPECT_THAT(error_of("max_steps = 9\ngamma = 0.5\n"),
                AllOf(HasSubstr("run.toml:2: "), HasSubstr("gamma is not an option of schedule 'linear'")));
    EXPECT_THAT(error_of("max_steps = 9\nlr_scheduler_type = \"step\"\n"), HasSubstr("step_size of schedule 'step'"));
    EXPECT_THAT(error_of("max_steps = 9\n[[stage]]\nschedule = \"stlr\"\ncut_frac = 2\n"),
                AllOf(HasSubstr("run.toml:4: [[stage]] 1: "), HasSubstr("cut_frac")));
    EXPECT_THAT(error_of("step_size = 1.5\n"), HasSubstr("run.toml:1: step_size"));
    EXPECT_THAT(error_of("lr_scheduler_type = \"cosine\"\n[fine_tune]\n"), HasSubstr("fastai's one_cycle"));
}

TEST_F(ConfigTables, written_out_they_parse_back_to_themselves) {
    for (const std::string& text :
         {std::string(three_stages), std::string("[gradual]\n"), std::string("[fine_tune]\nlr_mult = 3\ndiv = 7\n"),
          std::string("lr_scheduler_type = \"one_cycle\"\npct_start = 0.4\ncycle_momentum = false\n[[stage]]\n"
                      "schedule = \"step\"\nstep_size = 30\n"),
          std::string("[[group]]\nname = \"x\"\nmatch = [\"re:a\\\\..*\", \"b.**\"]\nmultiplier = 0\n[[stage]]\nslice "
                      "= 0.1\n")}) {
        for (const bool full : {false, true}) {
            const std::string once = to_toml(parse(text), command_train, full);
            EXPECT_EQ(to_toml(parse(once), command_train, full), once);
            EXPECT_EQ(config_changes(once, parse(text)), "") << once;
        }
    }
}

TEST_F(ConfigTables, changes_are_told_by_table_and_key) {
    const std::string saved = to_toml(parse(three_stages), command_train, true);
    std::string other = three_stages;
    other.replace(other.find("10u"), 3, "11u");
    EXPECT_EQ(config_changes(saved, parse(other)), "\n  [[stage]] 2: length: '10u' in the checkpoint, '11u' now");
    EXPECT_THAT(config_changes(saved, parse("[gradual]\n")),
                AllOf(HasSubstr("[[stage]] 3: given in the checkpoint, unset now"),
                      HasSubstr("[gradual]: unset in the checkpoint, given now")));
    EXPECT_EQ(config_changes(saved, parse(three_stages, {"--logging_steps", "7"}, "train")), "");
    // A checkpoint from before a key was known stands at its default, that of then.
    EXPECT_EQ(config_changes("num_train_epochs = 3.0\n", parse("")), "");
    EXPECT_EQ(config_changes("num_train_epochs = 3.0\n", parse("", {"--bf16", "true"})),
              "\n  bf16: 'false' in the checkpoint, 'true' now");
}

TEST_F(ConfigTables, errors_name_the_place) {
    EXPECT_THAT(error_of("seed = 1\n[[stage]]\n[[stage]]\nfreeze_two = 1\n"),
                AllOf(HasSubstr("run.toml:4: [[stage]] 2: unknown key 'freeze_two'"), HasSubstr("'freeze_to'")));
    EXPECT_THAT(error_of("[[stage]]\nfreeze_to = \"1\"\n"),
                HasSubstr("run.toml:2: [[stage]] 1: freeze_to: expected INTEGER"));
    EXPECT_THAT(error_of("[[stage]]\nlength = \"7\"\n"),
                HasSubstr("run.toml:2: [[stage]] 1: length: '7' is not a length"));
    EXPECT_THAT(error_of("[[stage]]\nslice = [1, 2, 3]\n"),
                HasSubstr("run.toml:2: [[stage]] 1: slice: it has 3 numbers"));
    EXPECT_THAT(error_of("[[stage]]\nschedule = \"lineal\"\n"), HasSubstr("Did you mean 'linear'?"));
    EXPECT_THAT(error_of("[[stage]]\ngroups = []\n"), HasSubstr("run.toml:2: [[stage]] 1: groups: the list is empty"));
    EXPECT_THAT(error_of("[stage]\n"), HasSubstr("run.toml:1: stage is a list of tables: write [[stage]]"));
    EXPECT_THAT(error_of("[[gradual]]\n"), HasSubstr("run.toml:1: gradual is one table: write [gradual]"));
    EXPECT_THAT(error_of("[[stages]]\n"), AllOf(HasSubstr("run.toml:1: unknown table"), HasSubstr("'stage'")));
    EXPECT_THAT(error_of("[[group]]\nname = \"a b\"\n"), HasSubstr("run.toml:2: [[group]] 1: name: Group 'a b'"));
    EXPECT_THAT(error_of("[fine_tune]\nlr_mult = 0\n"), HasSubstr("run.toml:2: [fine_tune]: lr_mult: it is 0"));
    EXPECT_THAT(error_of("[gradual]\n[fine_tune]\n"), HasSubstr("stages are given in 2 ways"));
}

TEST_F(ConfigTables, what_the_plan_refuses_has_its_place_too) {
    const std::string layers = "[groups]\npolicy = \"prefix-decay\"\n";
    EXPECT_THAT(error_of(layers + "[[stage]]\nlength = \"1e\"\n[[stage]]\nfreeze_to = 9\n"),
                HasSubstr("run.toml:6: [[stage]] 2: Stage 'stage_2': freeze_to is 9"));
    EXPECT_THAT(error_of("max_steps = 5\n" + layers + "[[stage]]\nname = \"x\"\nlength = \"1e\"\n"),
                HasSubstr("run.toml:4: [[stage]] 1: Stage 'x' ends at update 20, but the run has only 5"));
    EXPECT_THAT(error_of("max_steps = 50\n" + layers + "[[stage]]\nlength = \"1e\"\n"), HasSubstr("The stages end at"));
    EXPECT_THAT(error_of("[[group]]\nname = \"a\"\n[[group]]\nname = \"b\"\nmatch = [\"x.**\"]\n"),
                HasSubstr("[[group]] 2: Group 'b': the pattern 'x.**' matches no parameter"));
    EXPECT_THAT(error_of(layers + "decay = 1.5\n"), HasSubstr("run.toml:3: Layer decay 1.5 is outside (0, 1]"));
    EXPECT_THAT(error_of("seed = 1\nwarmup_ratio = 2\n"), HasSubstr("run.toml:2: warmup_ratio is 2"));
    // What users named is no key, and a group's name no stage's.
    EXPECT_THAT(error_of(layers + "[[stage]]\nname = \"name\"\nfreeze_to = 9\n"),
                HasSubstr("run.toml:5: [[stage]] 1: Stage 'name': freeze_to is 9"));
    EXPECT_THAT(error_of("[[stage]]\nname = \"a\"\n[[group]]\nname = \"a\"\nmatch = [\"**\"]\n[[group]]\nname = \"a\"\n"
                         "match = [\"**\"]\n"),
                HasSubstr("run.toml:3: [[group]] 1: Two groups are named 'a'"));
    // A flag over the file has no place in it.
    EXPECT_THAT(error_of("warmup_ratio = 0.1\n", {"--warmup_ratio", "2"}), testing::StartsWith("warmup_ratio is 2"));
}

TEST_F(ConfigTables, stages_in_epochs_need_the_data) {
    const Config config = parse("[[stage]]\nname = \"x\"\nlength = \"2e\"\n");
    EXPECT_THAT([&] { plan(config, std::nullopt); },
                testing::ThrowsMessage<UserError>(
                    AllOf(HasSubstr("run.toml:3: [[stage]] 1: Stage 'x' lasts 2e"), HasSubstr("train_samples"))));
    EXPECT_EQ(plan(config).total_steps, 40);
    EXPECT_EQ(plan(parse("[[stage]]\nlength = \"7u\"\n"), std::nullopt).total_steps, 7);
}

TEST_F(ConfigTables, help_lists_every_key) {
    const char* arguments[] = {"strata", "train", "--help"};
    const std::string help = parse_command_line(3, arguments).help_text;
    for (const char* text : {"[[group]]", "[[stage]]", "[gradual]", "[fine_tune]", "    freeze_to = INTEGER",
                             "    adam_beta2 = NUMBER", "    lr_mult = NUMBER", "    each = TEXT"}) {
        EXPECT_THAT(help, HasSubstr(text));
    }
    EXPECT_THAT(help, testing::Not(HasSubstr("(default: '')")));
    arguments[1] = "predict";
    EXPECT_THAT(parse_command_line(3, arguments).help_text, testing::Not(HasSubstr("[[stage]]")));
}

TEST_F(ConfigTables, a_key_belongs_to_its_policy) {
    const auto groups = [](const std::string& text) { return "[groups]\n" + text; };
    EXPECT_THAT(error_of(groups("depth = 2\n")),
                HasSubstr("run.toml:2: [groups] depth belongs to policy prefix-decay, but policy is single"));
    EXPECT_THAT(error_of(groups("policy = \"two-part\"\ndecay = 0.5\n")),
                HasSubstr("layer-decay, parameter-decay or prefix-decay, but policy is two-part"));
    EXPECT_THAT(error_of(groups("high = 1\n")), HasSubstr("[groups] high belongs to policy slice"));
    EXPECT_THAT(error_of(groups("policy = \"slice\"\n")), HasSubstr("needs [groups] high"));
    EXPECT_THAT(error_of(groups("policy = \"slice\"\nhigh = 1\ndecay = 0.5\n")), HasSubstr("[groups] decay belongs"));
    EXPECT_THAT(error_of(groups("policy = \"multipliers\"\nmultipliers = [1, 2]\n")), HasSubstr("it takes three"));
    EXPECT_THAT(error_of(groups("policy = \"layer-decay\"\n[[group]]\nname = \"a\"\n")),
                HasSubstr("[[group]] belongs to policy rules or multipliers, but policy is layer-decay"));
    EXPECT_EQ(error_of(groups("policy = \"slice\"\nhigh = 1\nsplit = \"prefix_decay\"\ndepth = 1\n")), "no error");
    EXPECT_EQ(error_of("[groups]\npolicy = \"prefix_decay\"\n"), "no error");
}

}  // namespace
}  // namespace strata::app
