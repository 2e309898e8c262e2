#include "optim/weight_decay.h"

#include "bert_manifest.h"
#include "core/error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace strata::optim {
namespace {

using ::testing::AllOf;
using testing::bert_manifest;
using ::testing::HasSubstr;
using testing::message_of;

bool decays(const std::string& name, const std::vector<std::string>& no_decay = {}) {
    return decide_decay({name, {1}}, no_decay).decays;
}

TEST(WeightDecay, BertBaseDecaysItsMatricesOnly) {
    std::size_t decaying = 0;
    for (const Parameter& parameter : bert_manifest({})) {
        const bool matrix = parameter.shape.size() == 2;
        EXPECT_EQ(decide_decay(parameter, {}).decays, matrix) << parameter.name;
        if (matrix) ++decaying;
    }
    EXPECT_EQ(decaying, 3U + 12U * 6U + 2U);
}

TEST(WeightDecay, KnowsBiasesAndNormalisationByWholeComponents) {
    for (const char* name :
         {"a.bias", "bias", "gru.bias_ih_l0", "attn.in_proj_bias", "a.LayerNorm.weight", "a.LayerNorm.gamma",
          "x.layer_norm.weight", "x.sa_layer_norm.weight", "h.0.ln_1.weight", "transformer.ln_f.weight", "norm.weight",
          "blocks.0.norm2.weight", "model.final_norm.weight"}) {
        EXPECT_FALSE(decays(name)) << name;
    }
    for (const char* name : {"a.weight", "bias.weight", "unbiased", "abnormal.weight", "normaliser.weight",
                             "bn1.weight", "lnx.weight", "a.relative_attention_bias.weight"}) {
        EXPECT_TRUE(decays(name)) << name;
    }
}

TEST(WeightDecay, ListsMatchRunsOfWholeComponents) {
    EXPECT_FALSE(decays("bert.encoder.layer.1.dense.weight", {"layer.1"}));
    EXPECT_TRUE(decays("bert.encoder.layer.10.dense.weight", {"layer.1"}));
    EXPECT_TRUE(decays("bert.encoder.layer.1.dense.weight", {"ayer.1", "dense.w"}));
    EXPECT_FALSE(decays("classifier.weight", {"classifier"}));
}

TEST(WeightDecay, SaysWhichRuleDecided) {
    EXPECT_THAT(decide_decay({"a.bias", {1}}, {}).reason, HasSubstr("'bias'"));
    EXPECT_THAT(decide_decay({"a.LayerNorm.weight", {1}}, {}).reason, HasSubstr("'LayerNorm'"));
    EXPECT_THAT(decide_decay({"classifier.weight", {1}}, {"classifier"}).reason,
                HasSubstr("no_decay lists 'classifier'"));
    EXPECT_THAT(decide_decay({"a.weight", {1}}, {}).reason, HasSubstr("neither"));
}

TEST(WeightDecay, RefusesAListEntryThatMatchesNothing) {
    const Manifest manifest = bert_manifest({.layers = 1, .hidden = 8});
    EXPECT_NO_THROW(check_no_decay(manifest, {"classifier", "word_embeddings.weight"}));
    EXPECT_THAT(message_of<UserError>([&] { check_no_decay(manifest, {"clasifier.weight"}); }),
                AllOf(HasSubstr("'clasifier.weight'"), HasSubstr("Nearest names: classifier.weight")));
}

}  // namespace
}  // namespace strata::optim
