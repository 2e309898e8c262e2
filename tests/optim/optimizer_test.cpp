#include "optim/optimizer.h"

#include "bert_manifest.h"
#include "core/error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <string>

namespace strata::optim {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::message_of;

TEST(OptimizerKind, ParsesEveryNameOnTheList) {
    for (std::size_t i = 0; i < optimizer_names.size(); ++i) {
        const auto kind = static_cast<OptimizerKind>(i);
        EXPECT_EQ(parse_optimizer_kind(optimizer_names[i]), kind);
        EXPECT_EQ(optimizer_name(kind), optimizer_names[i]);
    }
    EXPECT_EQ(optimizer_name(OptimizerKind::adamw), "adamw");
    EXPECT_EQ(optimizer_name(OptimizerKind::adam), "adam");
    EXPECT_EQ(optimizer_name(OptimizerKind::sgd), "sgd");
    EXPECT_EQ(optimizer_name(OptimizerKind::lamb), "lamb");
    EXPECT_EQ(parse_optimizer_kind("adamw_torch"), OptimizerKind::adamw);
    EXPECT_EQ(parse_optimizer_kind("adamw_torch_fused"), OptimizerKind::adamw);
    EXPECT_THAT(message_of<UserError>([] { parse_optimizer_kind("lam"); }),
                AllOf(HasSubstr("'lamb'"), HasSubstr("adamw, adam, sgd or lamb")));
    EXPECT_THROW(optimizer_name(static_cast<OptimizerKind>(optimizer_names.size())), std::logic_error);
}

std::string refusal(OptimizerKind kind, std::string_view option) {
    const std::array<std::string_view, 2> set{"weight_decay", option};
    return message_of<UserError>([&] { check_optimizer_options(kind, set); });
}

TEST(OptimizerOptions, WhatTheOptimizerDoesNotHaveIsRefusedByName) {
    EXPECT_EQ(refusal(OptimizerKind::adamw, "momentum"),
              "momentum is not an option of optimizer 'adamw', but of sgd. adamw has weight_decay, adam_beta1, "
              "adam_beta2 and adam_epsilon.");
    EXPECT_THAT(refusal(OptimizerKind::sgd, "adam_beta1"),
                AllOf(HasSubstr("adam_beta1 is not"), HasSubstr("adamw, adam and lamb")));
    for (const OptimizerKind kind : {OptimizerKind::adamw, OptimizerKind::adam, OptimizerKind::lamb}) {
        for (const auto* const option : {"adam_beta1", "adam_beta2", "adam_epsilon"}) {
            EXPECT_EQ(refusal(kind, option), "");
            EXPECT_NE(refusal(OptimizerKind::sgd, option), "");
        }
        for (const auto* const option : {"momentum", "nesterov"}) {
            EXPECT_NE(refusal(kind, option), "");
            EXPECT_EQ(refusal(OptimizerKind::sgd, option), "");
        }
    }
    const std::array<std::string_view, 1> unknown{"momentun"};
    EXPECT_THROW(check_optimizer_options(OptimizerKind::sgd, unknown), std::logic_error);
}

TEST(OptimizerOverrides, ReplaceOnlyWhatIsSet) {
    const OptimizerConfig optimizer{.beta1 = 0.8, .beta2 = 0.9, .epsilon = 1e-7, .weight_decay = 0.1};
    EXPECT_FALSE(OptimizerOverrides{}.any());
    const OptimizerOverrides own{.weight_decay = 0.0, .beta2 = 0.95};
    EXPECT_TRUE(own.any());
    const OptimizerConfig group = with_overrides(optimizer, own);
    EXPECT_EQ(group.weight_decay, 0.0);
    EXPECT_EQ(group.beta1, 0.8);
    EXPECT_EQ(group.beta2, 0.95);
    EXPECT_EQ(group.epsilon, 1e-7);
    EXPECT_EQ(with_overrides(optimizer, {.beta1 = 0.5, .epsilon = 1e-3}).beta1, 0.5);
    EXPECT_EQ(with_overrides(optimizer, {.beta1 = 0.5, .epsilon = 1e-3}).epsilon, 1e-3);
}

TEST(OptimizerConfig, SaysHowManyMomentsItKeeps) {
    EXPECT_EQ(state_tensors({.kind = OptimizerKind::adamw}), 2);
    EXPECT_EQ(state_tensors({.kind = OptimizerKind::adam}), 2);
    EXPECT_EQ(state_tensors({.kind = OptimizerKind::lamb}), 2);
    EXPECT_EQ(state_tensors({.kind = OptimizerKind::sgd}), 0);
    EXPECT_EQ(state_tensors({.kind = OptimizerKind::sgd, .momentum = 0.9}), 1);
}

}  // namespace
}  // namespace strata::optim
