#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include "apps/strata/option_value.h"
#include "apps/strata/options.h"
#include "apps/strata/trainer_flags.h"
#include "core/error.h"

namespace strata::app {
namespace {

using testing::AllOf;
using testing::AnyOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

CommandLine parse(std::vector<const char*> arguments) {
    arguments.insert(arguments.begin(), "strata");
    return parse_command_line(static_cast<int>(arguments.size()), arguments.data());
}

std::string error_of(const std::vector<const char*>& arguments) {
    try {
        parse(arguments);
    } catch (const UserError& error) {
        return error.what();
    }
    return "no error";
}

class ConfigFile : public testing::Test {
  protected:
    const char* write(const std::string& text) {
        path_ = (std::filesystem::path(testing::TempDir()) / (process() + "_command_line_test.toml")).string();
        std::ofstream(path_) << text;
        return path_.c_str();
    }
    ~ConfigFile() override { std::filesystem::remove(path_); }
    // ctest runs tests side by side: the process number keeps their files apart.
    static std::string process() { return std::to_string(::getpid()); }
    std::string path_;
};

TEST(CommandLine, flags_set_typed_members) {
    const Config config = parse({"train", "--learning_rate", "3e-5", "--max_steps", "20", "--shuffle", "false",
                                 "--output_dir", "out", "--hidden_dropout_prob", "0"})
                              .config;
    EXPECT_DOUBLE_EQ(config.learning_rate, 3e-5);
    EXPECT_EQ(config.max_steps, 20);
    EXPECT_FALSE(config.shuffle);
    EXPECT_EQ(config.output_dir, "out");
    EXPECT_EQ(config.hidden_dropout_prob, 0.0);
    EXPECT_FALSE(config.attention_probs_dropout_prob.has_value());
}

TEST(CommandLine, dashes_equal_signs_and_aliases_are_accepted) {
    const Config config = parse({"train", "--learning-rate=1e-3", "--max-steps=-1", "--batch-size", "4"}).config;
    EXPECT_DOUBLE_EQ(config.learning_rate, 1e-3);
    EXPECT_EQ(config.max_steps, -1);
    EXPECT_EQ(config.per_device_train_batch_size, 4);
}

TEST(CommandLine, a_boolean_flag_may_stand_alone) {
    EXPECT_TRUE(parse({"train", "--overwrite_output_dir", "--seed", "7"}).config.overwrite_output_dir);
    EXPECT_TRUE(parse({"train", "--seed", "7", "--overwrite_output_dir"}).config.overwrite_output_dir);
}

TEST(CommandLine, an_unknown_flag_names_the_nearest) {
    EXPECT_THAT(error_of({"train", "--learning_rat", "1"}), HasSubstr("Did you mean 'learning_rate'?"));
    EXPECT_THAT(error_of({"trian"}), HasSubstr("Did you mean 'train'?"));
    EXPECT_THAT(error_of({"predict", "--learning_rate", "1"}), HasSubstr("not an option of this command"));
    EXPECT_THAT(error_of({"train", "stray"}), HasSubstr("'stray' is not expected here"));
}

/// The program's own name is print_error()'s, for every message alike.
TEST(CommandLine, what_is_wrong_with_flags_begins_with_the_command) {
    EXPECT_THAT(error_of({"train", "--learning_rat", "1"}), StartsWith("train: unknown option --learning_rat."));
    EXPECT_THAT(error_of({"predict", "--learning_rate", "1"}), StartsWith("predict: --learning_rate is not an option"));
    EXPECT_THAT(error_of({"bench", "step", "stray"}), StartsWith("bench step: 'stray' is not expected here"));
    EXPECT_THAT(error_of({"train", "--do_train"}), StartsWith("train: there is no --do_train here"));
    for (const char* flag : {"--seed", "--config"})
        EXPECT_EQ(error_of({"evaluate", flag}), std::string("evaluate: ") + flag + ": its value is missing");
}

TEST(CommandLine, a_flag_that_only_trainer_has_says_what_to_do_without_it) {
    EXPECT_THAT(error_of({"train", "--do_train"}), AllOf(HasSubstr("no --do_train here"), HasSubstr("leave it out")));
    EXPECT_THAT(error_of({"train", "--dataloader-num-workers=4"}), HasSubstr("no --dataloader_num_workers here"));
    EXPECT_THAT(error_of({"predict", "--use_cpu", "true"}), HasSubstr("--device cpu"));
    EXPECT_THAT(error_of({"train", "--neftune_noise_alpha", "5"}), HasSubstr("unknown option --neftune_noise_alpha."));
    // What strata has one day leaves the list.
    for (const auto& option : option_table()) EXPECT_EQ(instead_of_trainer_flag(option.name), "") << option.name;
}

TEST(CommandLine, a_wrong_value_names_the_flag) {
    EXPECT_THAT(error_of({"train", "--max_steps", "many"}), HasSubstr("--max_steps: 'many' is not a number"));
    EXPECT_THAT(error_of({"train", "--max_steps", "1.5"}), HasSubstr("is not a whole number"));
    EXPECT_THAT(error_of({"train", "--learning_rate", "nan"}), HasSubstr("is not a number"));
    EXPECT_THAT(error_of({"train", "--optim", "adamv"}), HasSubstr("Did you mean 'adamw'?"));
    EXPECT_THAT(error_of({"train", "--layer_decay", "0.9", "--policy", "two-part"}), HasSubstr("keep one"));
    EXPECT_THAT(error_of({"train", "--zero_stage", "3"}), HasSubstr("zero_stage is 3"));
    EXPECT_THAT(error_of({"train", "--micro_batches", "4"}), HasSubstr("--deterministic true"));
    EXPECT_THAT(
        error_of({"train", "--deterministic", "true", "--micro_batches", "4", "--gradient_accumulation_steps", "2"}),
        HasSubstr("keep micro_batches"));
}

TEST_F(ConfigFile, is_read_first_and_flags_win) {
    const char* file = write("learning_rate = 1e-4\nseed = 3\n[groups]\npolicy = \"layer-decay\"\ndecay = 0.8\n");
    const Config config = parse({"train", "--seed", "9", "--config", file}).config;
    EXPECT_DOUBLE_EQ(config.learning_rate, 1e-4);
    EXPECT_EQ(config.seed, 9);
    EXPECT_EQ(config.policy, "layer-decay");
    EXPECT_DOUBLE_EQ(config.decay.value(), 0.8);
}

TEST_F(ConfigFile, a_runs_folder_is_not_where_an_evaluation_writes) {
    const char* file = write("output_dir = \"runs/mine\"\n");
    EXPECT_EQ(parse({"train", "--config", file}).config.output_dir, "runs/mine");
    EXPECT_EQ(parse({"evaluate", "--config", file}).config.output_dir, "");
    EXPECT_EQ(parse({"evaluate", "--config", file, "--output_dir", "evals"}).config.output_dir, "evals");
}

TEST_F(ConfigFile, errors_name_file_and_line) {
    EXPECT_THAT(error_of({"train", "--config", write("seed = 1\nlearning_rat = 1.0\n")}),
                testing::AllOf(HasSubstr("command_line_test.toml:2"), HasSubstr("Did you mean 'learning_rate'?")));
    EXPECT_THAT(error_of({"train", "--config", write("seed = \"7\"\n")}), HasSubstr("expected INTEGER"));
    EXPECT_THAT(error_of({"train", "--config", write("seed = = 1\n")}), HasSubstr("command_line_test.toml:1:"));
    EXPECT_THAT(error_of({"train", "--config", write("optim = adamw\n")}), HasSubstr("text is written in quotes"));
    EXPECT_THAT(error_of({"train", "--config", write("policy = \"single\"\n")}), HasSubstr("belongs in [groups]"));
    EXPECT_THAT(error_of({"train", "--config", write("[grops]\ndecay = 0.9\n")}), HasSubstr("unknown table [grops]"));
    EXPECT_THAT(error_of({"train", "--config", "/no/such/file.toml"}), HasSubstr("/no/such/file.toml"));
}

TEST_F(ConfigFile, effective_configuration_parses_back_to_itself) {
    Config config = parse({"train", "--layer_decay", "0.95", "--no_decay", "a.*,b", "--eval_steps", "5",
                           "--learning_rate", "3.3e-5", "--output_dir", "with \"quotes\" and \\"})
                        .config;
    for (const bool full : {false, true}) {
        const std::string text = to_toml(config, command_train, full);
        const Config again = parse({"train", "--config", write(text)}).config;
        EXPECT_EQ(to_toml(again, command_train, true), to_toml(config, command_train, true)) << text;
    }
}

TEST(Help, lists_exactly_the_options_the_parser_takes) {
    for (const auto& [command, name] :
         {std::pair{command_train, "train"}, std::pair{command_plan, "plan"}, std::pair{command_predict, "predict"},
          std::pair{command_evaluate, "evaluate"}, std::pair{command_tokenize, "tokenize"},
          std::pair{command_lr_find, "lr-find"}, std::pair{command_report, "report"}}) {
        const CommandLine line = parse({name, "--help"});
        ASSERT_TRUE(line.help);
        for (const auto& option : option_table()) {
            const bool shown = line.help_text.find("--" + option.name + " ") != std::string::npos;
            EXPECT_EQ(shown, (option.commands & command) != 0) << name << " --" << option.name;
        }
    }
}

TEST(CommandLine, time_limits_are_seconds_that_a_clock_counts) {
    for (const char* wrong : {"-1", "0.5", "1e300"})
        EXPECT_THAT(error_of({"train", "--heartbeat_timeout", wrong}), HasSubstr("heartbeat_timeout is"));
    for (const char* wrong : {"-1", "0", "1e300"})
        EXPECT_THAT(error_of({"train", "--ddp_timeout", wrong}), HasSubstr("ddp_timeout is"));
    EXPECT_EQ(parse({"train", "--heartbeat_timeout", "0", "--ddp-timeout", "60"}).config.ddp_timeout, 60);
}

TEST(CommandLine, report_takes_its_runs_as_words) {
    const CommandLine line = parse({"report", "runs/a", "--output", "two.html", "runs/b, the second"});
    EXPECT_THAT(line.config.runs, testing::ElementsAre("runs/a", "runs/b, the second"));
    EXPECT_EQ(line.config.output, "two.html");
    EXPECT_THAT(error_of({"report"}), HasSubstr("usage: strata report RUN"));
    EXPECT_THAT(error_of({"report", "a", "--outptu", "x"}), HasSubstr("Did you mean 'output'?"));
}

TEST(CommandLine, a_command_of_two_words_takes_paths) {
    const CommandLine line = parse({"checkpoint", "verify", "runs/a", "runs/b/checkpoint-7"});
    EXPECT_EQ(line.command, command_verify);
    EXPECT_THAT(line.config.checkpoints, testing::ElementsAre("runs/a", "runs/b/checkpoint-7"));
    EXPECT_THAT(error_of({"checkpoint", "verify"}), HasSubstr("usage: strata checkpoint verify PATH"));
    EXPECT_THAT(error_of({"checkpoint", "verfy", "x"}), HasSubstr("Did you mean 'checkpoint verify'?"));
    EXPECT_THAT(error_of({"checkpoint"}), HasSubstr("unknown command 'checkpoint'"));
    EXPECT_THAT(parse({"checkpoint", "--help"}).help_text, HasSubstr("checkpoint verify"));
    EXPECT_THAT(parse({"checkpoint", "verify", "--help"}).help_text, HasSubstr("--checkpoints"));
    const std::string bench = parse({"bench", "step", "--help"}).help_text;
    EXPECT_THAT(bench, AllOf(HasSubstr("--steps"), HasSubstr("--bf16"), HasSubstr("--policy"), HasSubstr("[[stage]]")));
    EXPECT_THAT(bench, Not(AnyOf(HasSubstr("--output_dir"), HasSubstr("--torchscript"))));
}

TEST(OptionTable, names_are_unique) {
    std::set<std::string> names;
    for (const auto& option : option_table()) {
        EXPECT_TRUE(names.insert(option.name).second) << option.name;
        if (!option.alias.empty()) {
            EXPECT_TRUE(names.insert(option.alias).second) << option.alias;
        }
    }
}

}  // namespace
}  // namespace strata::app
