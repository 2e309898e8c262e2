// Every policy on every model: BERT-base, BERT-large, MiniLM, ResNet-18, a GRU and the articles' sample model.
#include "bert_manifest.h"
#include "core/error.h"
#include "core/file.h"
#include "model_manifests.h"
#include "optim/policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <random>
#include <set>

namespace strata::optim {
namespace {

using testing::bert_manifest;
using ::testing::DoubleNear;
using ::testing::ElementsAre;
using testing::gru_manifest;
using ::testing::HasSubstr;
using testing::message_of;
using testing::resnet18_manifest;
using testing::sample_manifest;
using testing::vectors;

constexpr double exact = 1e-12;

struct Model {
    const char* name;
    Manifest manifest;
    std::size_t prefixes;  // groups of prefix-decay at depth 1
};

std::vector<Model> models() {
    return {{"BERT-base", bert_manifest({}), 2},
            {"BERT-large", bert_manifest({.layers = 24, .hidden = 1024, .intermediate = 4096}), 2},
            {"MiniLM", bert_manifest({.layers = 6, .hidden = 384, .intermediate = 1536}), 2},
            {"ResNet-18", resnet18_manifest(), 7},
            {"GRU", gru_manifest(), 3},
            {"sample", sample_manifest(), 2}};
}

std::vector<std::string> names(const std::vector<GroupDraft>& groups) {
    std::vector<std::string> out;
    for (const GroupDraft& group : groups) out.push_back(group.name);
    return out;
}

std::vector<double> multipliers(const std::vector<GroupDraft>& groups) {
    std::vector<double> out;
    for (const GroupDraft& group : groups) out.push_back(group.multiplier);
    return out;
}

void expect_each_parameter_once(const Manifest& manifest, const std::vector<GroupDraft>& groups) {
    std::set<std::size_t> seen;
    std::set<std::string> group_names;
    std::size_t count = 0;
    for (const GroupDraft& group : groups) {
        EXPECT_TRUE(group_names.insert(group.name).second) << group.name;
        EXPECT_TRUE(std::is_sorted(group.parameters.begin(), group.parameters.end()));
        seen.insert(group.parameters.begin(), group.parameters.end());
        count += group.parameters.size();
    }
    EXPECT_EQ(count, manifest.size());
    EXPECT_EQ(seen.size(), manifest.size());
}

/// lo (hi / lo)^(g / (n-1)), in more precision than the plan has.
double slice_formula(double low, double high, std::size_t g, std::size_t n) {
    if (n == 1) return high;
    const auto exponent = static_cast<long double>(g) / static_cast<long double>(n - 1);
    return static_cast<double>(low * std::pow(static_cast<long double>(high) / low, exponent));
}

nlohmann::json fixture() {
    return nlohmann::json::parse(read_file(STRATA_FIXTURES "/optim/policies.json"));
}

TEST(Models, AreWhatTheirLibrariesRegister) {
    const auto registered = fixture()["manifests"];
    const auto expect_same = [&](const char* name, const Manifest& manifest) {
        const auto& expected = registered[name];
        ASSERT_EQ(manifest.size(), expected.size()) << name;
        for (std::size_t i = 0; i < manifest.size(); ++i) {
            EXPECT_EQ(manifest[i].name, expected[i][0].get<std::string>());
            EXPECT_EQ(manifest[i].shape, expected[i][1].get<std::vector<std::int64_t>>()) << manifest[i].name;
        }
    };
    const std::vector<Model> all = models();
    expect_same("bert-base", all[0].manifest);
    expect_same("bert-large", all[1].manifest);
    expect_same("minilm", all[2].manifest);
    expect_same("gru", all[4].manifest);
    expect_same("sample", all[5].manifest);
}

TEST(Models, HaveTheirKnownSizes) {
    const auto elements = [](const Manifest& manifest) {
        std::int64_t sum = 0;
        for (const Parameter& parameter : manifest) sum += parameter.elements();
        return sum;
    };
    EXPECT_EQ(resnet18_manifest(1000).size(), 62U);
    EXPECT_EQ(elements(resnet18_manifest(1000)), 11'689'512);
    EXPECT_EQ(elements(models()[0].manifest), 109'482'240 + 1538);
    EXPECT_EQ(elements(models()[1].manifest), 335'141'888 + 2050);
    EXPECT_EQ(elements(sample_manifest()), 67);
}

TEST(ParameterDecay, OneGroupATensorCountedFromTheLast) {
    for (const Model& model : models()) {
        for (const double decay : {0.5, 0.9, 0.95, 1.0}) {
            const auto groups = make_groups(model.manifest, {.kind = PolicyKind::parameter_decay, .decay = decay});
            ASSERT_EQ(groups.size(), model.manifest.size()) << model.name;
            expect_each_parameter_once(model.manifest, groups);
            for (std::size_t g = 0; g < groups.size(); ++g) {
                const auto k = static_cast<long double>(groups.size() - 1 - g);
                EXPECT_EQ(groups[g].name, model.manifest[g].name);
                EXPECT_NEAR(groups[g].multiplier, static_cast<double>(std::pow(static_cast<long double>(decay), k)),
                            exact);
            }
        }
    }
}

TEST(ParameterDecay, ResNetHasTheArticlesRates) {
    const auto groups = make_groups(resnet18_manifest(), {.kind = PolicyKind::parameter_decay, .decay = 0.9});
    ASSERT_EQ(groups.size(), 62U);
    // The article counts from the head and prints six places.
    const auto printed = [&](std::size_t index) { return fmt::format("{:.6f}", 0.01 * groups[61 - index].multiplier); };
    EXPECT_EQ(groups[61].name, "fc.bias");
    EXPECT_EQ(printed(0), "0.010000");
    EXPECT_EQ(printed(1), "0.009000");
    EXPECT_EQ(printed(5), "0.005905");
    EXPECT_EQ(printed(58), "0.000022");
    EXPECT_EQ(printed(61), "0.000016");
    EXPECT_EQ(groups[0].name, "conv1.weight");
}

TEST(PrefixDecay, NeighboursThatShareTheirFirstComponent) {
    for (const Model& model : models()) {
        const auto groups = make_groups(model.manifest, {.kind = PolicyKind::prefix_decay, .decay = 0.9});
        ASSERT_EQ(groups.size(), model.prefixes) << model.name;
        expect_each_parameter_once(model.manifest, groups);
        for (std::size_t g = 0; g < groups.size(); ++g) {
            EXPECT_NEAR(groups[g].multiplier, std::pow(0.9, static_cast<double>(groups.size() - 1 - g)), exact);
        }
    }
}

TEST(PrefixDecay, ResNetHasTheArticlesRates) {
    const auto groups = make_groups(resnet18_manifest(), {.kind = PolicyKind::prefix_decay, .decay = 0.9});
    EXPECT_THAT(names(groups), ElementsAre("conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc"));
    EXPECT_EQ(fmt::format("{:.6f}", 0.01 * groups[0].multiplier), "0.005314");
    EXPECT_EQ(fmt::format("{:.6f}", 0.01 * groups[1].multiplier), "0.005905");
    EXPECT_EQ(fmt::format("{:.6f}", 0.01 * groups[2].multiplier), "0.006561");
    EXPECT_EQ(fmt::format("{:.6f}", 0.01 * groups[6].multiplier), "0.010000");
}

TEST(PrefixDecay, DepthSetsHowManyComponents) {
    const auto at = [](int depth) {
        return names(
            make_groups(bert_manifest({.layers = 2, .hidden = 8}), {.kind = PolicyKind::prefix_decay, .depth = depth}));
    };
    EXPECT_THAT(at(2),
                ElementsAre("bert.embeddings", "bert.encoder", "bert.pooler", "classifier.weight", "classifier.bias"));
    EXPECT_THAT(at(4), ::testing::IsSupersetOf({"bert.encoder.layer.0", "bert.encoder.layer.1"}));
}

TEST(PrefixDecay, APrefixThatComesBackIsARunOfItsOwn) {
    const auto groups =
        make_groups(vectors({"a.x", "b.x", "a.y", "a_2.x", "a.z"}), {.kind = PolicyKind::prefix_decay, .decay = 0.5});
    EXPECT_THAT(names(groups), ElementsAre("a", "b", "a_3", "a_2", "a_4"));
    EXPECT_EQ(groups[0].multiplier, 0.0625);
}

TEST(Slice, IsTheFormulaOverAnySplit) {
    for (const Model& model : models()) {
        for (const PolicyKind split : {PolicyKind::single, PolicyKind::two_part, PolicyKind::parameter_decay,
                                       PolicyKind::prefix_decay, PolicyKind::layer_decay}) {
            const bool transformer = std::string_view(model.name).starts_with("BERT") || model.name[0] == 'M';
            if (split == PolicyKind::layer_decay && !transformer) continue;
            for (const double low : {1e-6, 1e-5, 1e-3}) {
                const double high = 1e-3;
                const auto groups = make_groups(
                    model.manifest, {.kind = PolicyKind::slice, .split = split, .slice = {low, high}}, 2e-5);
                for (std::size_t g = 0; g < groups.size(); ++g) {
                    const double rate = slice_formula(low, high, g, groups.size());
                    EXPECT_NEAR(groups[g].multiplier * 2e-5 / rate, 1.0, exact) << model.name << " group " << g;
                    if (g < 2) continue;
                    const double ratio = groups[g].multiplier / groups[g - 1].multiplier;
                    EXPECT_NEAR(ratio * groups[0].multiplier / groups[1].multiplier, 1.0, 1e-9);
                }
                EXPECT_NEAR(groups.back().multiplier, high / 2e-5, exact * high / 2e-5);
            }
        }
    }
}

TEST(Slice, IsFastcores) {
    const auto slices = fixture()["slices"];
    ASSERT_EQ(slices.size(), 28U);
    for (const auto& entry : slices) {
        const auto expected = entry["rates"].get<std::vector<double>>();
        const auto rates = slice_rates({entry["low"].get<double>(), entry["high"].get<double>()}, expected.size());
        for (std::size_t g = 0; g < rates.size(); ++g) EXPECT_NEAR(rates[g] / expected[g], 1.0, exact);
    }
}

TEST(Slice, TwoPointSixIsPerGroupOnlyForFiveGroups) {
    const auto ratio = [](std::size_t n) {
        const auto rates = slice_rates({1e-2 / std::pow(2.6, 4), 1e-2}, n);
        return rates[1] / rates[0];
    };
    EXPECT_NEAR(ratio(5), 2.6, exact);
    EXPECT_NEAR(ratio(14), 1.342, 5e-4);
}

TEST(Slice, WithoutLowIsATenthForAllButTheLast) {
    EXPECT_THAT(slice_rates({std::nullopt, 1e-3}, 3), ElementsAre(1e-3 / 10, 1e-3 / 10, 1e-3));
    EXPECT_THAT(slice_rates({std::nullopt, 1e-3}, 1), ElementsAre(1e-3));
    EXPECT_THAT(slice_rates({1e-6, 1e-3}, 1), ElementsAre(1e-3));
}

TEST(Slice, AFrozenGroupStaysFrozenButCounts) {
    PolicyConfig config{.kind = PolicyKind::slice, .split = PolicyKind::rules, .slice = {1e-4, 1e-2}};
    config.rules = {{"embedding", {}, 0.0}, {"gru"}, {"fc"}};
    EXPECT_THAT(multipliers(make_groups(gru_manifest(), config)),
                ElementsAre(0.0, DoubleNear(1e-3, exact), DoubleNear(1e-2, exact)));
}

TEST(Root, IsUndoneByPower) {
    for (const double value : {1.0, 1.5, 2.0, 100.0, 1e6, 1e300}) {
        for (const std::size_t degree : {1, 2, 3, 13, 61, 464}) {
            EXPECT_NEAR(power(root(value, degree), degree) / value, 1.0, exact) << value << " " << degree;
        }
    }
    EXPECT_EQ(root(8.0, 3), 2.0);
}

TEST(TwoPart, TheHeadOfAnyModelIsItsLastRun) {
    const auto head = [](const Manifest& manifest) {
        const auto groups = make_groups(manifest, {.kind = PolicyKind::two_part});
        EXPECT_THAT(names(groups), ElementsAre("backbone", "head"));
        expect_each_parameter_once(manifest, groups);
        std::vector<std::string> out;
        for (const std::size_t i : groups[1].parameters) out.push_back(manifest[i].name);
        return out;
    };
    EXPECT_THAT(head(resnet18_manifest()), ElementsAre("fc.weight", "fc.bias"));
    EXPECT_THAT(head(gru_manifest()), ElementsAre("fc.weight", "fc.bias"));
    EXPECT_THAT(head(sample_manifest()), ElementsAre("part2.weight", "part2.bias"));
    EXPECT_THAT(head(vectors({"model.conv.w", "model.fc.w", "model.fc.b"})), ElementsAre("model.fc.w", "model.fc.b"));
    EXPECT_THAT(message_of<UserError>([] { make_groups(vectors({"w"}), {.kind = PolicyKind::two_part}); }),
                HasSubstr("group 'backbone' is empty"));
}

TEST(Multipliers, BaseExtraAndHeadOfATransformer) {
    const Manifest manifest = bert_manifest({.layers = 2, .hidden = 8});
    const auto groups = make_groups(manifest, {.kind = PolicyKind::multipliers});
    EXPECT_THAT(names(groups), ElementsAre("base", "extra", "head"));
    EXPECT_THAT(multipliers(groups), ElementsAre(0.1, 0.5, 1.0));
    expect_each_parameter_once(manifest, groups);
    EXPECT_EQ(groups[1].parameters.size(), 2U);  // the pooler
    EXPECT_EQ(manifest[groups[2].parameters[0]].name, "classifier.weight");

    const Manifest distilbert = vectors(
        {"distilbert.embeddings.w", "distilbert.transformer.layer.0.w", "pre_classifier.weight", "classifier.weight"});
    EXPECT_THAT(make_groups(distilbert, {.kind = PolicyKind::multipliers})[1].parameters, ElementsAre(2));
}

TEST(Multipliers, AnyNamedListClaimsWhatLiesUnderItsNames) {
    PolicyConfig config{.kind = PolicyKind::multipliers};
    config.rules = {{"stem", {"conv1.*", "bn1.*"}, 0.01},
                    {"layer1", {}, 0.01},
                    {"layer2", {}, 0.05},
                    {"layer3", {}, 0.1},
                    {"layer4", {}, 0.5},
                    {"fc", {}, 1.0}};
    const Manifest manifest = resnet18_manifest();
    const auto groups = make_groups(manifest, config);
    EXPECT_THAT(multipliers(groups), ElementsAre(0.01, 0.01, 0.05, 0.1, 0.5, 1.0));
    expect_each_parameter_once(manifest, groups);
    EXPECT_EQ(groups[0].parameters.size(), 3U);
    EXPECT_EQ(groups[5].parameters.size(), 2U);
}

TEST(Rules, TheSampleModelInTheArticlesWords) {
    PolicyConfig config{.kind = PolicyKind::rules};
    config.rules = {{"part1", {"part1.**"}, 0.1}, {"part2", {"part2.**"}, 1.0}};
    const auto groups = make_groups(sample_manifest(), config);
    EXPECT_NEAR(0.01 * groups[0].multiplier, 0.001, exact);
    EXPECT_NEAR(0.01 * groups[1].multiplier, 0.01, exact);
    EXPECT_THAT(groups[0].parameters, ElementsAre(0, 1));
}

TEST(Rules, KeepTheirOrderAndCarryTheirOverrides) {
    PolicyConfig config{.kind = PolicyKind::rules};
    config.rules = {{"weights", {"**.weight", "re:gru\\.weight.*"}, 0.5, {.weight_decay = 0.1, .beta1 = 0.8}},
                    {"biases", {"re:.*bias.*"}, 1.0, {.epsilon = 1e-6}}};
    const Manifest manifest = gru_manifest();
    const auto groups = make_groups(manifest, config);
    EXPECT_THAT(names(groups), ElementsAre("weights", "biases"));
    expect_each_parameter_once(manifest, groups);
    EXPECT_EQ(groups[0].overrides.weight_decay, 0.1);
    EXPECT_EQ(groups[0].overrides.beta1, 0.8);
    EXPECT_EQ(groups[1].overrides.epsilon, 1e-6);
    EXPECT_FALSE(groups[1].overrides.weight_decay);
}

/// However the names are shared out among rules, each parameter is in the one group whose rule has its name; a name in
/// two rules, or in none, is refused.
TEST(Rules, AnyPartitionGivesItself) {
    const Manifest manifest = resnet18_manifest();
    std::mt19937 random(7);
    for (int trial = 0; trial < 50; ++trial) {
        PolicyConfig config{.kind = PolicyKind::rules};
        const std::size_t count = 1 + random() % 8;
        std::vector<std::size_t> owner;
        for (std::size_t r = 0; r < count; ++r) config.rules.push_back({fmt::format("rule_{}", r)});
        for (std::size_t i = 0; i < manifest.size(); ++i) {
            // The first ones see to it that no rule is empty.
            owner.push_back(i < count ? i : random() % count);
            config.rules[owner.back()].match.push_back(manifest[i].name);
        }
        const auto groups = make_groups(manifest, config);
        expect_each_parameter_once(manifest, groups);
        for (std::size_t r = 0; r < count; ++r) {
            for (const std::size_t i : groups[r].parameters) EXPECT_EQ(owner[i], r);
        }
        const std::size_t victim = random() % manifest.size();
        auto& names_of_owner = config.rules[owner[victim]].match;
        if (count > 1) {
            PolicyConfig twice = config;
            twice.rules[(owner[victim] + 1) % count].match.push_back(manifest[victim].name);
            EXPECT_THAT(message_of<UserError>([&] { make_groups(manifest, twice); }),
                        HasSubstr("Two groups claim '" + manifest[victim].name));
        }
        if (names_of_owner.size() > 1) {
            std::erase(names_of_owner, manifest[victim].name);
            EXPECT_THAT(message_of<UserError>([&] { make_groups(manifest, config); }),
                        HasSubstr("No group claims '" + manifest[victim].name));
        }
    }
}

TEST(Rules, LayerOneIsNotLayerTen) {
    PolicyConfig config{.kind = PolicyKind::rules};
    config.rules = {
        {"one", {"bert.encoder.layer.1.**"}},
        {"rest",
         {"bert.embeddings.**", "bert.pooler.**", "classifier.*", R"(re:bert\.encoder\.layer\.(0|[2-9]|1[01])\..*)"}}};
    const auto groups = make_groups(bert_manifest({}), config);
    EXPECT_EQ(groups[0].parameters.size(), 16U);
}

}  // namespace
}  // namespace strata::optim
