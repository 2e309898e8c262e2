#include "optim/policy.h"

#include "bert_manifest.h"
#include "core/error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <set>

namespace strata::optim {
namespace {

using ::testing::AllOf;
using testing::bert_manifest;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::message_of;

std::vector<GroupDraft> layer_decay(const Manifest& manifest, double decay = 0.95, bool electra = false) {
    return make_groups(manifest, {.kind = PolicyKind::layer_decay, .decay = decay, .electra = electra});
}

std::int64_t elements(const Manifest& manifest, const GroupDraft& group) {
    std::int64_t sum = 0;
    for (const std::size_t i : group.parameters) sum += manifest[i].elements();
    return sum;
}

std::vector<std::string> names(const Manifest& manifest, const GroupDraft& group) {
    std::vector<std::string> out;
    for (const std::size_t i : group.parameters) out.push_back(manifest[i].name);
    return out;
}

void expect_each_parameter_once(const Manifest& manifest, const std::vector<GroupDraft>& groups) {
    std::set<std::size_t> seen;
    std::size_t count = 0;
    for (const GroupDraft& group : groups) {
        EXPECT_FALSE(group.parameters.empty()) << group.name;
        seen.insert(group.parameters.begin(), group.parameters.end());
        count += group.parameters.size();
    }
    EXPECT_EQ(count, manifest.size());
    EXPECT_EQ(seen.size(), manifest.size());
}

TEST(LayerDecay, BertBaseHasFourteenGroups) {
    const Manifest manifest = bert_manifest({});
    const auto groups = layer_decay(manifest);
    ASSERT_EQ(groups.size(), 14U);
    EXPECT_EQ(groups.front().name, "embeddings");
    EXPECT_EQ(groups[1].name, "layer_0");
    EXPECT_EQ(groups[12].name, "layer_11");
    EXPECT_EQ(groups.back().name, "head");
    expect_each_parameter_once(manifest, groups);

    std::int64_t sum = 0;
    for (const GroupDraft& group : groups) sum += elements(manifest, group);
    const std::int64_t head = 768 * 2 + 2;
    EXPECT_EQ(sum - head, 109'482'240);
    EXPECT_EQ(elements(manifest, groups.front()), 23'837'184);
    EXPECT_EQ(elements(manifest, groups[5]), 7'087'872);
    EXPECT_THAT(names(manifest, groups.back()), ElementsAre("bert.pooler.dense.weight", "bert.pooler.dense.bias",
                                                            "classifier.weight", "classifier.bias"));
}

TEST(LayerDecay, MultipliersAreTheFormulas) {
    for (const int layers : {1, 6, 12, 24}) {
        for (const double decay : {0.38, 0.75, 0.8, 0.9, 0.95, 1.0}) {
            for (const bool electra : {false, true}) {
                const auto groups = layer_decay(bert_manifest({.layers = layers, .hidden = 8}), decay, electra);
                ASSERT_EQ(groups.size(), static_cast<std::size_t>(layers) + 2);
                const int more = electra ? 1 : 0;
                EXPECT_NEAR(groups[0].multiplier, std::pow(decay, layers + 1 + more), 1e-12);
                for (int i = 0; i < layers; ++i) {
                    EXPECT_NEAR(groups[static_cast<std::size_t>(i) + 1].multiplier, std::pow(decay, layers - i + more),
                                1e-12);
                }
                EXPECT_EQ(groups.back().multiplier, 1.0);
            }
        }
    }
}

TEST(LayerDecay, PublishedFigures) {
    const Manifest manifest = bert_manifest({});
    const auto beit = layer_decay(manifest, 0.75);
    EXPECT_NEAR(beit[0].multiplier, 0.023757, 1e-6);
    EXPECT_NEAR(beit[12].multiplier, 0.75, 1e-12);
    const auto electra = layer_decay(manifest, 0.8, true);
    EXPECT_NEAR(electra[0].multiplier, 0.043980, 1e-6);
    EXPECT_NEAR(electra[1].multiplier, 0.054976, 1e-6);
    EXPECT_NEAR(electra[12].multiplier, 0.64, 1e-12);
}

TEST(LayerDecay, LayerOneIsNotLayerTen) {
    const Manifest manifest = bert_manifest({});
    for (const std::string& name : names(manifest, layer_decay(manifest)[2])) {
        EXPECT_THAT(name, ::testing::StartsWith("bert.encoder.layer.1."));
    }
}

TEST(LayerDecay, PoolerCanGoWithTheLastLayer) {
    const Manifest manifest = bert_manifest({});
    const auto groups =
        make_groups(manifest, {.kind = PolicyKind::layer_decay, .decay = 0.9, .pooler_with_head = false});
    ASSERT_EQ(groups.size(), 14U);
    expect_each_parameter_once(manifest, groups);
    EXPECT_EQ(names(manifest, groups[12]).back(), "bert.pooler.dense.bias");
    EXPECT_THAT(names(manifest, groups[13]), ElementsAre("classifier.weight", "classifier.bias"));
}

TEST(LayerDecay, KnowsBareModels) {
    const Manifest manifest = bert_manifest({.layers = 3, .hidden = 8}, "");
    const auto groups = layer_decay(manifest);
    ASSERT_EQ(groups.size(), 5U);
    expect_each_parameter_once(manifest, groups);
    EXPECT_EQ(groups.back().parameters.size(), 4U);
}

Manifest vectors(const std::vector<std::string>& parameter_names) {
    Manifest manifest;
    for (const std::string& name : parameter_names) manifest.push_back({name, {4}});
    return manifest;
}

/// Group name to parameters, for models told by a handful of names.
std::map<std::string, std::vector<std::string>> grouped(const std::vector<std::string>& parameter_names) {
    const Manifest manifest = vectors(parameter_names);
    std::map<std::string, std::vector<std::string>> out;
    for (const GroupDraft& group : layer_decay(manifest)) out[group.name] = names(manifest, group);
    return out;
}

TEST(LayerDecay, KnowsOtherFamiliesNames) {
    auto distilbert =
        grouped({"distilbert.embeddings.word_embeddings.weight", "distilbert.transformer.layer.0.ffn.lin1.bias",
                 "distilbert.transformer.layer.1.ffn.lin1.bias", "pre_classifier.weight", "classifier.weight"});
    EXPECT_EQ(distilbert.size(), 4U);
    EXPECT_THAT(distilbert["head"], ElementsAre("pre_classifier.weight", "classifier.weight"));

    auto electra = grouped({"electra.embeddings.word_embeddings.weight", "electra.embeddings_project.weight",
                            "electra.encoder.layer.0.output.dense.weight", "classifier.dense.weight",
                            "classifier.out_proj.weight"});
    EXPECT_EQ(electra["embeddings"].size(), 2U);
    EXPECT_EQ(electra["head"].size(), 2U);

    auto gpt2 = grouped({"transformer.wte.weight", "transformer.wpe.weight", "transformer.h.0.ln_1.weight",
                         "transformer.h.1.ln_1.weight", "transformer.ln_f.weight", "score.weight"});
    EXPECT_EQ(gpt2["embeddings"].size(), 2U);
    EXPECT_THAT(gpt2["layer_1"], ElementsAre("transformer.h.1.ln_1.weight"));
    EXPECT_THAT(gpt2["head"], ElementsAre("transformer.ln_f.weight", "score.weight"));

    auto modernbert = grouped({"model.embeddings.tok_embeddings.weight", "model.layers.0.mlp.Wi.weight",
                               "model.final_norm.weight", "head.dense.weight", "classifier.weight"});
    EXPECT_THAT(modernbert["head"], ElementsAre("model.final_norm.weight", "head.dense.weight", "classifier.weight"));

    auto timm = grouped({"cls_token", "pos_embed", "patch_embed.proj.weight", "blocks.0.attn.qkv.weight", "norm.weight",
                         "head.weight"});
    EXPECT_THAT(timm["embeddings"], ElementsAre("cls_token", "pos_embed", "patch_embed.proj.weight"));
    EXPECT_THAT(timm["head"], ElementsAre("norm.weight", "head.weight"));
}

TEST(LayerDecay, ANumberedHeadIsNoLayer) {
    auto groups = grouped({"bert.embeddings.a.weight", "bert.encoder.layer.0.a.weight", "bert.encoder.layer.1.a.weight",
                           "classifier.layers.0.weight", "classifier.layers.1.weight"});
    EXPECT_EQ(groups.size(), 4U);
    EXPECT_EQ(groups["head"].size(), 2U);
}

TEST(LayerDecay, RefusesAParameterThatIsNowhereAndNamesTheNearest) {
    Manifest manifest = bert_manifest({.layers = 2, .hidden = 8});
    manifest.push_back({"bert.encoder.layer_norm_scale.gain", {8}});
    manifest.push_back({"bert.adapter.dense.weight", {8}});
    const std::string message = message_of<UserError>([&] { layer_decay(manifest); });
    EXPECT_THAT(message, AllOf(HasSubstr("'bert.encoder.layer_norm_scale.gain'"), HasSubstr("Nearest names: "),
                               HasSubstr("'single'")));
    const std::size_t begin = message.find("Nearest names: ");
    const std::string nearest = message.substr(begin, message.find(". Policies") - begin);
    EXPECT_EQ(std::count(nearest.begin(), nearest.end(), ','), 4) << nearest;

    manifest = bert_manifest({.layers = 2, .hidden = 8});
    manifest.insert(manifest.begin(), {"bert.input_projection.weight", {8}});
    EXPECT_THAT(message_of<UserError>([&] { layer_decay(manifest); }), HasSubstr("'bert.input_projection.weight'"));
}

TEST(LayerDecay, RefusesModelsWithoutLayers) {
    const std::string resnet = message_of<UserError>([] {
        layer_decay(vectors({"conv1.weight", "bn1.weight", "layer1.0.conv1.weight", "fc.weight"}));
    });
    EXPECT_THAT(resnet, AllOf(HasSubstr("no numbered layers"), HasSubstr("conv1.weight"), HasSubstr("'single'")));
    EXPECT_THAT(message_of<UserError>([] {
                    layer_decay(vectors({"encoder.layer.0.a.weight", "fc.weight"}));
                }),
                HasSubstr("no embeddings"));
    EXPECT_THAT(
        message_of<UserError>([] {
            layer_decay(vectors({"embeddings.a", "encoder.layer.0.a.weight", "encoder.layer.2.a.weight", "fc"}));
        }),
        HasSubstr("encoder.layer.1 has no parameters"));
    EXPECT_THAT(message_of<UserError>([] {
                    layer_decay(vectors({"embeddings.a", "encoder.layer.0.a.weight"}));
                }),
                HasSubstr("group 'head' is empty"));
    // A number that no int holds is not a layer's.
    EXPECT_THAT(message_of<UserError>([] {
                    layer_decay(vectors({"embeddings.a", "encoder.layer.4294967296.a", "fc"}));
                }),
                HasSubstr("no numbered layers"));
}

TEST(LayerDecay, RefusesDecayOutsideItsRange) {
    const Manifest manifest = bert_manifest({.layers = 1, .hidden = 8});
    for (const double decay : {0.0, -0.5, 1.0001, std::nan(""), std::numeric_limits<double>::infinity()}) {
        EXPECT_THAT(message_of<UserError>([&] { layer_decay(manifest, decay); }), HasSubstr("(0, 1]")) << decay;
    }
}

TEST(TwoPart, BackboneAndHead) {
    const Manifest manifest = bert_manifest({});
    const auto groups = make_groups(manifest, {.kind = PolicyKind::two_part, .backbone_multiplier = 0.25});
    ASSERT_EQ(groups.size(), 2U);
    expect_each_parameter_once(manifest, groups);
    EXPECT_EQ(groups[0].name, "backbone");
    EXPECT_EQ(groups[0].multiplier, 0.25);
    EXPECT_EQ(groups[1].parameters.size(), 4U);
    EXPECT_EQ(groups[1].multiplier, 1.0);

    const auto apart = make_groups(manifest, {.kind = PolicyKind::two_part, .pooler_with_head = false});
    EXPECT_EQ(apart[1].parameters.size(), 2U);
}

TEST(TwoPart, RefusesNegativeMultipliers) {
    const Manifest manifest = bert_manifest({.layers = 1, .hidden = 8});
    for (const double multiplier : {-0.1, std::nan(""), std::numeric_limits<double>::infinity()}) {
        EXPECT_THAT(message_of<UserError>([&] {
                        make_groups(manifest, {.kind = PolicyKind::two_part, .backbone_multiplier = multiplier});
                    }),
                    HasSubstr("backbone_multiplier"));
    }
}

TEST(Single, OneGroupForAnyNames) {
    const Manifest manifest = vectors({"conv1.weight", "layer1.0.conv1.weight", "fc.weight"});
    const auto groups = make_groups(manifest, {});
    ASSERT_EQ(groups.size(), 1U);
    EXPECT_EQ(groups[0].name, "all");
    EXPECT_EQ(groups[0].multiplier, 1.0);
    EXPECT_THAT(groups[0].parameters, ElementsAre(0, 1, 2));
    EXPECT_THROW(make_groups({}, {}), UserError);
}

TEST(PolicyKind, ParsesItsNames) {
    EXPECT_THAT(policy_names(), ElementsAre("single", "two-part", "multipliers", "layer-decay", "parameter-decay",
                                            "prefix-decay", "slice", "rules"));
    for (const std::string& name : policy_names()) EXPECT_EQ(policy_name(parse_policy_kind(name)), name);
    EXPECT_EQ(parse_policy_kind("layer_decay"), PolicyKind::layer_decay);
    EXPECT_THAT(message_of<UserError>([] { parse_policy_kind("layerdecay"); }), HasSubstr("'layer-decay'"));
}

}  // namespace
}  // namespace strata::optim
