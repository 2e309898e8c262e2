#include "optim/pattern.h"

#include "bert_manifest.h"
#include "core/error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace strata::optim {
namespace {

using ::testing::HasSubstr;
using testing::message_of;

struct Case {
    const char* pattern;
    const char* name;
    bool matches;
};

class PatternMatch : public ::testing::TestWithParam<Case> {};

TEST_P(PatternMatch, WholeNamesByComponents) {
    EXPECT_EQ(Pattern(GetParam().pattern).matches(GetParam().name), GetParam().matches)
        << GetParam().pattern << " on " << GetParam().name;
}

INSTANTIATE_TEST_SUITE_P(
    Globs, PatternMatch,
    ::testing::Values(Case{"fc.weight", "fc.weight", true}, Case{"fc", "fc.weight", false},
                      Case{"weight", "fc.weight", false}, Case{"fc.weight", "fc.weights", false},
                      Case{"layer.1", "layer.10", false}, Case{"layer.1.**", "layer.10.w", false},
                      Case{"layer.1.**", "layer.1.w", true}, Case{"fc.*", "fc.weight", true},
                      Case{"fc.*", "fc.a.weight", false}, Case{"*", "fc", true}, Case{"*", "fc.weight", false},
                      Case{"**", "fc.a.weight", true}, Case{"bert.**", "bert", true},
                      Case{"bert.**", "bertha.a", false}, Case{"**.bias", "bias", true},
                      Case{"**.bias", "a.b.bias", true}, Case{"**.bias", "a.bias.b", false},
                      Case{"a.**.z", "a.z", true}, Case{"a.**.z", "a.b.z.c.z", true}, Case{"a.**.z", "a.b.z.c", false},
                      Case{"**.attn.**.w", "x.attn.y.attn.w", true}, Case{"layer_*", "layer_11", true},
                      Case{"l*r_1*", "layer_11", true}, Case{"*a*a*", "xaya", true}, Case{"*a*a*", "xay", false},
                      Case{"layer*.0.*", "layer1.0.w", true}, Case{"layer*.0.*", "layer1.1.w", false},
                      Case{"a+b", "a+b", true}, Case{"a.b", "axb", false}, Case{"A", "a", false}));

INSTANTIATE_TEST_SUITE_P(
    Regexes, PatternMatch,
    ::testing::Values(Case{R"(re:layer\.1\..*)", "layer.1.w", true}, Case{R"(re:layer\.1\..*)", "layer.10.w", false},
                      Case{"re:weight", "fc.weight", false}, Case{"re:.*weight", "fc.weight", true},
                      Case{"re:(fc|head).*", "head.bias", true}, Case{"re:fc", "fc.weight", false}));

TEST(Pattern, TakesTimeThatGrowsGently) {
    std::string name = "a";
    std::string pattern = "*a";
    for (int i = 0; i < 200; ++i) {
        name += ".a";
        pattern = "**." + pattern;
    }
    EXPECT_TRUE(Pattern(pattern).matches(name));
    EXPECT_FALSE(Pattern(pattern + ".b").matches(name));
}

TEST(Pattern, RefusesWhatIsNone) {
    const auto refusal = [](const std::string& text) { return message_of<UserError>([&] { Pattern{text}; }); };
    EXPECT_THAT(refusal(""), HasSubstr("A pattern is empty"));
    EXPECT_THAT(refusal("a..b"), HasSubstr("'a..b' has an empty component"));
    EXPECT_THAT(refusal(".a"), HasSubstr("empty component"));
    EXPECT_THAT(refusal("a."), HasSubstr("empty component"));
    EXPECT_THAT(refusal("a.b**"), HasSubstr("'**' must stand alone"));
    EXPECT_THAT(refusal("a.***"), HasSubstr("'**' must stand alone"));
    EXPECT_THAT(refusal("re:(a"), HasSubstr("'re:(a' is not a regular expression"));
    EXPECT_THAT(refusal("re:[z-a]"), HasSubstr("is not a regular expression"));
}

TEST(Pattern, AdvisesByDepth) {
    const std::vector<std::string> names{"bert.layer.1.w", "bert.layer.1.b", "bert.layer.10.w", "fc.weight", "fc.bias"};
    EXPECT_EQ(Pattern("bert.layer.2.**").advice(names),
              "Nearest names: bert.layer.1, bert.layer.10, fc.weight, fc.bias.");
    EXPECT_THAT(Pattern("fc").advice(names), HasSubstr("For all that lies under 'fc', write 'fc.**'."));
    EXPECT_THAT(Pattern("fc.wieght").advice(names), HasSubstr("Nearest names: fc.weight, "));
    EXPECT_THAT(Pattern("re:fc.wieght").advice(names), HasSubstr("Nearest names: fc.weight, "));
}

}  // namespace
}  // namespace strata::optim
