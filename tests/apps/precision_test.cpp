#include "apps/strata/precision.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "apps/strata/config_changes.h"
#include "apps/strata/options.h"
#include "core/error.h"
#include "optim/device.h"
#include "tests/support/scratch_folder.h"

namespace strata::app {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Pair;

Config parse(std::vector<const char*> flags) {
    flags.insert(flags.begin(), {"strata", "train"});
    return parse_command_line(static_cast<int>(flags.size()), flags.data()).config;
}

std::string error_of(const std::vector<const char*>& flags) {
    try {
        parse(flags);
    } catch (const UserError& error) {
        return error.what();
    }
    return "no error";
}

constexpr bool has = true, lacks = false;

/// "fp32", "bf16" or "fp16", and the line that says why.
std::pair<std::string, std::string> settled(const std::vector<const char*>& flags, Bf16Ability ability,
                                            const std::optional<std::string>& saved = std::nullopt) {
    Config config = parse(flags);
    const std::string line = settle_precision(config, ability, saved);
    EXPECT_NE(config.bf16, "auto");
    return {std::string(optim::name_of(compute_type(config))), line};
}

TEST(Precision, FlagsMayStandAlone) {
    EXPECT_EQ(settled({"--bf16"}, {has}).first, "bf16");
    EXPECT_EQ(settled({"--fp16"}, {has}).first, "fp16");
    EXPECT_EQ(settled({"--bf16", "--seed", "7"}, {has}).first, "bf16");
    EXPECT_EQ(settled({"--bf16", "false", "--tf32", "false"}, {has}).first, "fp32");
}

TEST(Precision, AFileSaysItAsABooleanOrAsText) {
    const testing_support::ScratchFolder scratch;
    for (const char* text : {"bf16 = true\n", "bf16 = \"true\"\n"}) {
        const std::string file = scratch.write("run.toml", text);
        EXPECT_EQ(parse({"--config", file.c_str()}).bf16, "true") << text;
    }
    const std::string file = scratch.write("run.toml", to_toml(parse({"--bf16", "auto"}), command_train, true));
    EXPECT_EQ(parse({"--config", file.c_str()}).bf16, "auto");
}

TEST(Precision, ByDefaultWhatComputesDecides) {
    EXPECT_EQ(parse({}).bf16, "auto");
    EXPECT_THAT(settled({}, {has}), Pair("bf16", HasSubstr("since this processor multiplies it (AVX512-BF16)")));
    EXPECT_THAT(settled({}, {lacks}), Pair("fp32", HasSubstr("since this processor has no AVX512-BF16")));
    EXPECT_THAT(settled({}, {has, true}), Pair("bf16", HasSubstr("since this GPU multiplies it (compute capability")));
    EXPECT_THAT(settled({}, {lacks, true}), Pair("fp32", HasSubstr("since this GPU has no compute capability 8.0")));
    EXPECT_EQ(settled({"--deterministic", "true"}, {has}).first, "bf16");
}

TEST(Precision, WhatWasAskedForIsNotDecided) {
    EXPECT_THAT(settled({"--bf16", "true"}, {has}), Pair("bf16", HasSubstr("as bf16 says;")));
    EXPECT_THAT(settled({"--bf16", "true"}, {lacks}), Pair("bf16", HasSubstr("this processor does not multiply it")));
    EXPECT_THAT(settled({"--bf16", "false"}, {has}), Pair("fp32", ""));
    EXPECT_THAT(settled({"--fp16"}, {has}), Pair("fp16", HasSubstr("the loss is scaled")));
}

TEST(Precision, WhatHasNoUseForBf16GoesWithout) {
    EXPECT_THAT(settled({"--tf32", "true"}, {has}), Pair("fp32", HasSubstr("tf32 is for products in fp32")));
    EXPECT_THAT(settled({"--torchscript", "m.pt"}, {has}), Pair("fp32", ""));
}

std::string saved_by(const std::vector<const char*>& flags) {
    Config config = parse(flags);
    settle_precision(config, {has});
    return to_toml(config, command_train, true);
}

TEST(Precision, ARunThatGoesOnTakesTheCheckpointsType) {
    const std::pair<std::string, std::string> checkpoints[] = {
        {saved_by({}), "bf16"},
        {saved_by({"--bf16", "false"}), "fp32"},
        {saved_by({"--fp16"}), "fp16"},
        {"num_train_epochs = 3.0\n", "fp32"},  // from before there was another
    };
    for (const auto& [saved, type] : checkpoints) {
        for (const bool ability : {has, lacks}) {
            EXPECT_THAT(settled({}, {ability}, saved), Pair(type, HasSubstr(type + ", as the checkpoint has it")));
            Config config = parse({});
            settle_precision(config, {ability}, saved);
            EXPECT_EQ(config_changes(saved, config), "");
        }
    }
    EXPECT_THAT(settled({}, {lacks}, saved_by({})).second,
                HasSubstr("does not multiply it (products are made in fp32)"));
}

TEST(Precision, WhatWasAskedForIsAChangeFromTheCheckpoint) {
    for (const auto& [flag, saved] : {std::pair{"false", saved_by({})}, {"true", saved_by({"--bf16", "false"})}}) {
        Config config = parse({"--bf16", flag});
        settle_precision(config, {has}, saved);
        EXPECT_EQ(config.bf16, flag);
        EXPECT_THAT(config_changes(saved, config), HasSubstr("\n  bf16: "));
    }
}

std::string error_of_settling(const std::vector<const char*>& flags, Bf16Ability ability,
                              const std::optional<std::string>& saved = std::nullopt) {
    try {
        settled(flags, ability, saved);
    } catch (const UserError& error) {
        return error.what();
    }
    return "no error";
}

TEST(StochasticRounding, IsForBf16) {
    EXPECT_FALSE(parse({}).stochastic_rounding);
    for (const auto& flags : std::vector<std::vector<const char*>>{{"--bf16"}, {}}) {
        std::vector<const char*> with = flags;
        with.push_back("--stochastic_rounding");
        EXPECT_THAT(settled(with, {has}), Pair("bf16", HasSubstr("updates round weights stochastically")));
        EXPECT_THAT(settled(flags, {has}), Pair("bf16", HasSubstr("weights and moments stay fp32")));
    }
    const std::string remedy = "say --bf16 true instead, or leave stochastic_rounding out";
    EXPECT_THAT(error_of({"--stochastic_rounding", "--fp16"}), HasSubstr("but fp16 is true: " + remedy));
    EXPECT_THAT(error_of({"--stochastic_rounding", "--bf16", "false"}), HasSubstr("but bf16 is false: " + remedy));
    EXPECT_THAT(error_of({"--stochastic_rounding", "--torchscript", "m.pt"}),
                HasSubstr("stochastic_rounding is for models that strata builds"));
}

TEST(StochasticRounding, SaysWhyAutoIsNotBf16) {
    const char* const flag = "--stochastic_rounding";
    EXPECT_THAT(error_of_settling({flag}, {lacks}),
                AllOf(HasSubstr("computes in fp32, since this processor has no AVX512-BF16"),
                      HasSubstr("say --bf16 true instead, or leave stochastic_rounding out")));
    EXPECT_THAT(error_of_settling({flag, "--tf32", "true"}, {has}), HasSubstr("fp32, since tf32 is for products"));
    EXPECT_THAT(error_of_settling({flag}, {has}, saved_by({"--bf16", "false"})),
                HasSubstr("fp32, as the checkpoint has it: say --bf16 true"));
    EXPECT_THAT(error_of_settling({flag}, {has}, saved_by({"--fp16"})), HasSubstr("fp16, as the checkpoint has it"));
    EXPECT_EQ(error_of_settling({flag}, {lacks}, saved_by({"--bf16"})), "no error");
}

TEST(StochasticRounding, IsAChangeFromACheckpointWithoutAndBack) {
    const std::string masters = saved_by({"--bf16"}), rounded = saved_by({"--bf16", "--stochastic_rounding"});
    const auto changes = [](const std::vector<const char*>& flags, const std::string& saved) {
        Config config = parse(flags);
        settle_precision(config, {has}, saved);
        return config_changes(saved, config);
    };
    EXPECT_THAT(changes({"--stochastic_rounding"}, masters), HasSubstr("\n  stochastic_rounding: false in the check"));
    EXPECT_THAT(changes({}, rounded), HasSubstr("\n  stochastic_rounding: true in the checkpoint, false now"));
    EXPECT_EQ(changes({"--stochastic_rounding"}, rounded), "");
    EXPECT_EQ(changes({}, masters.substr(0, masters.find("stochastic_rounding"))), "") << "a checkpoint from before";
}

/// As settled(), for strata evaluate, of flags and a file.
std::pair<std::string, std::string> settled_for_inference(const std::string& file, Bf16Ability ability,
                                                          const std::vector<const char*>& flags = {}) {
    const testing_support::ScratchFolder scratch;
    const std::string path = scratch.write("run.toml", file);
    std::vector<const char*> words = {"strata", "evaluate", "--config", path.c_str()};
    words.insert(words.end(), flags.begin(), flags.end());
    Config config = parse_command_line(static_cast<int>(words.size()), words.data()).config;
    const std::string line = settle_inference_precision(config, ability);
    return {std::string(optim::name_of(compute_type(config))), line};
}

TEST(Precision, InferenceChoosesAsARunDoesAndUpdatesNothing) {
    EXPECT_THAT(
        settled_for_inference("", {has}),
        Pair("bf16", "precision: bf16, since this processor multiplies it (AVX512-BF16); --bf16 false: in fp32"));
    EXPECT_EQ(settled_for_inference("", {lacks}), settled({}, {lacks}));
    EXPECT_EQ(settled_for_inference("", {lacks, true}), settled({}, {lacks, true}));
    EXPECT_THAT(settled_for_inference("bf16 = true\n", {has}), Pair("bf16", "precision: bf16, as bf16 says"));
    EXPECT_THAT(settled_for_inference("bf16 = false\n", {has}), Pair("fp32", ""));
    EXPECT_THAT(settled_for_inference("torchscript = \"m.pt\"\n", {has}), Pair("fp32", ""));
}

TEST(Precision, InferenceTakesTheFileOfAnyRun) {
    EXPECT_THAT(settled_for_inference("fp16 = true\n", {has}),
                Pair("fp16", "precision: fp16, as fp16 says (on a CPU products are made in fp32)"));
    EXPECT_THAT(settled({"--fp16", "true"}, {.has = true, .gpu = true}).second, Not(HasSubstr("CPU")));
    const std::string rounded = "stochastic_rounding = true\n";
    EXPECT_EQ(settled_for_inference(rounded, {has}), settled_for_inference("", {has}));
    EXPECT_EQ(settled_for_inference(rounded, {lacks}), settled_for_inference("", {lacks})) << "no update is rounded";
    EXPECT_THAT(settled_for_inference(rounded + "bf16 = true\n", {has}, {"--bf16", "false"}), Pair("fp32", ""));
}

TEST(Precision, InferencesFlagWinsOverWhatTheFileSaysOfTheType) {
    for (const char* file : {"bf16 = true\n", "fp16 = true\n", "bf16 = false\nfp16 = true\n"}) {
        EXPECT_THAT(settled_for_inference(file, {has}, {"--bf16", "false"}), Pair("fp32", "")) << file;
        EXPECT_EQ(settled_for_inference(file, {has}, {"--bf16", "true"}).first, "bf16") << file;
        EXPECT_EQ(settled_for_inference(file, {lacks}, {"--bf16", "auto"}), settled_for_inference("", {lacks})) << file;
    }
}

TEST(Precision, APlanIsForThisMachineOrTheGpuThatWasNamed) {
    EXPECT_EQ(planned_bf16(parse({"--device", "cpu"})).has, processor_bf16().has);
    EXPECT_FALSE(planned_bf16(parse({"--device", "cpu"})).gpu);
    Config config = parse({"--device", "cuda"});
    const Bf16Ability ability = planned_bf16(config);
    EXPECT_TRUE(ability.gpu);
    if (optim::device_count() > 0) GTEST_SKIP() << "this machine has a GPU to ask";
    EXPECT_THAT(settle_precision(config, ability), HasSubstr("bf16, as for a GPU of compute capability 8.0, since"));
    EXPECT_EQ(planned_bf16(parse({})).has, processor_bf16().has);
}

TEST(Precision, WhatContradictsIsRefused) {
    EXPECT_THAT(error_of({"--bf16", "--fp16"}), HasSubstr("bf16 and fp16 are both true"));
    EXPECT_THAT(error_of({"--bf16", "--torchscript", "m.pt"}), HasSubstr("bf16 is for models that strata builds"));
    EXPECT_THAT(error_of({"--bf16", "maybe"}), HasSubstr("--bf16: 'maybe' is not known"));
}

}  // namespace
}  // namespace strata::app
