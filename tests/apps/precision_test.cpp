#include "apps/strata/precision.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <vector>

#include "apps/strata/options.h"
#include "core/error.h"
#include "tests/support/scratch_folder.h"

namespace strata::app {
namespace {

using optim::ComputeType;
using testing::HasSubstr;

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

TEST(Precision, FlagsMayStandAlone) {
    EXPECT_EQ(compute_type(parse({})), ComputeType::fp32);
    EXPECT_EQ(compute_type(parse({"--bf16"})), ComputeType::bf16);
    EXPECT_EQ(compute_type(parse({"--fp16"})), ComputeType::fp16);
    EXPECT_EQ(compute_type(parse({"--bf16", "--seed", "7"})), ComputeType::bf16);
    EXPECT_EQ(compute_type(parse({"--bf16", "false", "--tf32", "false"})), ComputeType::fp32);
}

TEST(Precision, AFileSaysItAsABooleanOrAsText) {
    const testing_support::ScratchFolder scratch;
    for (const char* text : {"bf16 = true\n", "bf16 = \"true\"\n"}) {
        const std::string file = scratch.write("run.toml", text);
        EXPECT_EQ(compute_type(parse({"--config", file.c_str()})), ComputeType::bf16) << text;
    }
    const std::string file = scratch.write("run.toml", to_toml(parse({"--bf16", "auto"}), command_train, true));
    EXPECT_EQ(parse({"--config", file.c_str()}).bf16, "auto");
}

TEST(Precision, AutoIsSettledByTheProcessor) {
    Config config = parse({"--bf16", "auto"});
    const ComputeType type = compute_type(config);
    const std::string line = settle_precision(config);
    EXPECT_EQ(config.bf16, type == ComputeType::bf16 ? "true" : "false");
    EXPECT_EQ(compute_type(config), type);
    EXPECT_THAT(line, HasSubstr("AVX512-BF16"));
    EXPECT_THAT(line, HasSubstr(type == ComputeType::bf16 ? "precision: bf16" : "precision: fp32"));
    Config plain = parse({});
    EXPECT_EQ(settle_precision(plain), "");
    Config module = parse({"--bf16", "auto", "--torchscript", "m.pt"});
    EXPECT_EQ(compute_type(module), ComputeType::fp32);
}

TEST(Precision, WhatContradictsIsRefused) {
    EXPECT_THAT(error_of({"--bf16", "--fp16"}), HasSubstr("bf16 and fp16 are both true"));
    EXPECT_THAT(error_of({"--bf16", "--torchscript", "m.pt"}), HasSubstr("bf16 is for models that strata builds"));
    EXPECT_THAT(error_of({"--bf16", "maybe"}), HasSubstr("--bf16: 'maybe' is not known"));
}

}  // namespace
}  // namespace strata::app
