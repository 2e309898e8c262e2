// Whole models: folders in and out, and numbers that transformers computed
// (tests/fixtures/models/make_model_fixtures.py).
#include "models/bert.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/types.h>

#include <chrono>
#include <cstdlib>
#include <numeric>

#include "models/hf_folder.h"
#include "models/losses.h"
#include "models/safetensors.h"
#include "models/weight_files.h"
#include "tests/models/batch.h"
#include "tests/models/support.h"

namespace strata::models {
namespace {

using testing::Batch;
using testing::expect_user_error;
using testing::fixtures;
using testing::largest_difference;
using testing::TemporaryFolder;

SafetensorsFile expected_of(const std::string& folder) {
    return SafetensorsFile(fixtures() / folder / "expected.safetensors");
}

torch::Tensor evaluated(const LoadedModel& loaded) {
    const torch::NoGradGuard no_grad;
    return loaded.model->forward(Batch().input, std::nullopt);
}

HeadLabels three_labels() {
    return {{"contradiction", "entailment", "neutral"}, false};
}

TEST(Bert, NamesAndOrderAreTransformers) {
    const auto shapes = parameter_shapes(read_bert_config(fixtures() / "classifier"));
    std::string text;
    for (const auto& [name, shape] : shapes) {
        text += fmt::format("{}\t{}\n", name, fmt::join(shape, "x"));
    }
    EXPECT_EQ(text, read_file(fixtures() / "parameter_names.txt"));
}

class BertLogits : public ::testing::TestWithParam<std::string> {};

TEST_P(BertLogits, EqualTransformers) {
    const LoadedModel loaded = load_model(fixtures() / GetParam(), {});
    EXPECT_TRUE(loaded.report.initialised.empty());
    EXPECT_TRUE(loaded.report.ignored.empty());
    EXPECT_LT(largest_difference(evaluated(loaded), expected_of(GetParam()).load("logits")), 1e-5);
}

INSTANTIATE_TEST_SUITE_P(Folders, BertLogits, ::testing::Values("classifier", "half", "bfloat16", "regression"));

class BertTraining : public ::testing::TestWithParam<std::string> {};

TEST_P(BertTraining, GradientsAndLossesEqualTransformers) {
    const LoadedModel loaded = load_model(fixtures() / GetParam(), {});
    const SafetensorsFile expected = expected_of(GetParam());
    const Batch batch;
    const torch::Tensor losses = expected.load("losses");
    for (std::int64_t step = 0; step < losses.size(0); ++step) {
        loaded.model->zero_grad();
        const torch::Tensor logits = loaded.model->forward(batch.input, std::nullopt);
        const auto& targets = loaded.config.regression ? batch.values : batch.labels;
        const torch::Tensor loss =
            loss_sum(logits, targets, loaded.config.regression) / static_cast<double>(targets.size());
        loss.backward();
        const double wanted = losses[step].item<double>();
        EXPECT_NEAR(loss.item<double>(), wanted, 2e-5 * std::abs(wanted)) << "step " << step;
        const torch::NoGradGuard no_grad;
        for (auto& [name, parameter] : loaded.model->named_parameter_list()) {
            if (step == 0) {
                const torch::Tensor gradient = expected.load("grad." + name);
                EXPECT_LT(largest_difference(parameter.grad(), gradient),
                          2e-5 * (1 + gradient.abs().max().item<double>()))
                    << name;
            }
            torch::Tensor target = parameter;
            target -= batch.rate * parameter.grad();
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Heads, BertTraining, ::testing::Values("classifier", "regression"));

TEST(Bert, DropoutFollowsTheSampleNotTheBatch) {
    const LoadedModel loaded = load_model(fixtures() / "classifier", {});
    const DropoutKey key{11, 4};
    const torch::Tensor whole = loaded.model->forward(Batch().input, key);
    const std::vector<std::size_t> order = {5, 0, 3};
    const torch::Tensor some = loaded.model->forward(Batch(order, true).input, key);
    for (std::size_t i = 0; i < order.size(); ++i) {
        const auto row = static_cast<std::int64_t>(i), source = static_cast<std::int64_t>(order[i]);
        EXPECT_LT(largest_difference(some[row], whole[source]), 1e-5);
    }
    EXPECT_GT(largest_difference(whole, evaluated(loaded)), 1e-3);
    EXPECT_GT(largest_difference(whole, loaded.model->forward(Batch().input, DropoutKey{11, 5})), 1e-3);
    EXPECT_TRUE(torch::equal(whole, loaded.model->forward(Batch().input, key)));

    LoadOptions none;
    none.hidden_dropout_prob = none.attention_probs_dropout_prob = 0.0;
    const LoadedModel undropped = load_model(fixtures() / "classifier", none);
    EXPECT_EQ(undropped.config.to_json().at("hidden_dropout_prob"), 0.0);
    EXPECT_TRUE(torch::equal(undropped.model->forward(Batch().input, key), evaluated(loaded)));
}

TEST(Bert, DropoutGradientsAreDerivatives) {
    LoadOptions options;
    options.hidden_dropout_prob = options.attention_probs_dropout_prob = 0.3;
    const LoadedModel loaded = load_model(fixtures() / "classifier", options);
    loaded.model->to(torch::kFloat64);
    const Batch batch({0, 3, 4});
    const auto loss = [&] {
        return loss_sum(loaded.model->forward(batch.input, DropoutKey{1, 2}), batch.labels, false);
    };
    loss().backward();
    const torch::NoGradGuard no_grad;
    for (const auto& [name, parameter] : loaded.model->named_parameter_list()) {
        torch::Tensor flat = parameter.view({-1});
        const std::int64_t at = flat.size(0) / 2;
        const double before = flat[at].item<double>(), width = 1e-5;
        flat[at] = before + width;
        const double above = loss().item<double>();
        flat[at] = before - width;
        const double below = loss().item<double>();
        flat[at] = before;
        EXPECT_NEAR(parameter.grad().view({-1})[at].item<double>(), (above - below) / (2 * width), 1e-6) << name;
    }
}

TEST(Bert, WhatIsFrozenDropsNothingUnlessTold) {
    const DropoutKey key{11, 4};
    LoadOptions options;
    options.hidden_dropout_prob = options.attention_probs_dropout_prob = 0.3;
    const LoadedModel loaded = load_model(fixtures() / "classifier", options);
    const auto forward = [&] { return loaded.model->forward(Batch().input, key).detach(); };
    const auto freeze = [&](const std::string& part, bool frozen) {
        for (auto& [name, parameter] : loaded.model->named_parameter_list()) {
            if (name.find(part) != std::string::npos) parameter.set_requires_grad(!frozen);
        }
    };
    const torch::Tensor all = forward();
    freeze("", true);
    EXPECT_TRUE(torch::equal(forward(), evaluated(loaded)));
    loaded.model->set_dropout_in_frozen(true);
    EXPECT_TRUE(torch::equal(forward(), all));
    loaded.model->set_dropout_in_frozen(false);

    // One parameter that learns makes its part drop; each part adds its own masks.
    torch::Tensor before = evaluated(loaded);
    for (const char* part : {"classifier.bias", "layer.1.output.dense.bias", "layer.0.attention.self.query.bias",
                             "embeddings.LayerNorm.weight"}) {
        freeze(part, false);
        const torch::Tensor now = forward();
        EXPECT_GT(largest_difference(now, before), 1e-3) << part;
        before = now;
    }
    EXPECT_TRUE(torch::equal(before, all));
}

TEST(Bert, FirstTokensGetFromTheLastLayerWhatTheyGetAmongAll) {
    const LoadedModel loaded = load_model(fixtures() / "classifier", {});
    const torch::Tensor first_only = evaluated(loaded);
    for (const auto& [name, parameter] : loaded.model->named_parameter_list()) parameter.set_requires_grad(false);
    ASSERT_TRUE(loaded.model->fixed_width());
    EXPECT_LT(largest_difference(first_only, evaluated(loaded)), 1e-6);
}

TEST(Bert, ComputingLayersAgainGivesTheSameBits) {
    LoadOptions options;
    options.hidden_dropout_prob = options.attention_probs_dropout_prob = 0.3;
    // Nothing frozen; nothing below the layers wants gradients; the last layer alone learns.
    for (const std::string frozen : {"none", "embeddings", "embeddings layer.0"}) {
        const auto trained = [&](bool recomputes) {
            const LoadedModel loaded = load_model(fixtures() / "classifier", options);
            for (const auto& [name, parameter] : loaded.model->named_parameter_list()) {
                const bool below = name.find("embeddings") != std::string::npos;
                const bool first = name.find("layer.0.") != std::string::npos;
                parameter.set_requires_grad(!(below && frozen != "none") && !(first && frozen.ends_with("layer.0")));
            }
            loaded.model->set_recomputes(recomputes);
            const Batch batch;
            const torch::Tensor loss =
                loss_sum(loaded.model->forward(batch.input, DropoutKey{3, 8}), batch.labels, false);
            loss.backward();
            std::vector<torch::Tensor> results{loss.detach()};
            for (const auto& [name, parameter] : loaded.model->named_parameter_list())
                results.push_back(parameter.grad());
            return results;
        };
        const auto kept = trained(false), again = trained(true);
        for (std::size_t i = 0; i < kept.size(); ++i) {
            ASSERT_EQ(kept[i].defined(), again[i].defined()) << i;
            EXPECT_TRUE(!kept[i].defined() || torch::equal(kept[i], again[i])) << i << ", frozen: " << frozen;
        }
    }
}

/// Everything frozen but the classifier, and the pooler where told.
void freeze_backbone(const LoadedModel& loaded, bool pooler_trains) {
    for (const auto& [name, parameter] : loaded.model->named_parameter_list()) {
        parameter.set_requires_grad(name.starts_with("classifier.") ||
                                    (pooler_trains && name.starts_with("bert.pooler.")));
    }
}

TEST(Bert, AFrozenBackboneHasAFixedPart) {
    const DropoutKey key{5, 9};
    for (const bool pooler_trains : {false, true}) {
        LoadOptions options;
        options.hidden_dropout_prob = 0.3;
        const LoadedModel loaded = load_model(fixtures() / "classifier", options);
        EXPECT_FALSE(loaded.model->fixed_width());
        freeze_backbone(loaded, pooler_trains);
        ASSERT_EQ(loaded.model->fixed_width(), loaded.config.hidden_size);
        const Batch batch;
        const torch::Tensor fixed = loaded.model->fixed_part(batch.input);
        EXPECT_FALSE(fixed.requires_grad());
        EXPECT_TRUE(torch::equal(loaded.model->forward_from({fixed, batch.input.sample_positions}, key),
                                 loaded.model->forward(batch.input, key)));
        loaded.model->set_dropout_in_frozen(true);
        EXPECT_FALSE(loaded.model->fixed_width()) << "what drops is not fixed";
        loaded.model->set_dropout_in_frozen(false);
        loaded.model->named_parameter_list().front().second.set_requires_grad(true);
        EXPECT_FALSE(loaded.model->fixed_width()) << "what trains is not fixed";
    }
}

// What is kept of one batch stands for the sample in any other, if no batch has fewer than 12 tokens: MKL computes
// products of that few rows by other paths (of fewer than 4 with one thread), whose last bits differ.
TEST(Bert, AFixedPartsBitsDoNotDependOnTheBatch) {
    BertConfig wide;  // as wide as MiniLM: the products' blocking depends on sizes
    wide.hidden_size = 384;
    wide.num_attention_heads = 12;
    wide.intermediate_size = 1536;
    wide.num_hidden_layers = 2;
    wide.vocab_size = 1000;
    BertForSequenceClassification model(wide);
    {
        const torch::NoGradGuard no_grad;
        for (const auto& [name, parameter] : model.named_parameter_list()) {
            parameter.copy_(keyed_normal(parameter.sizes().vec(), 0.05, 3, name));
        }
    }
    const auto rows_of = [&](const std::vector<std::int64_t>& samples) {
        std::vector<std::int64_t> ids, offsets{0};
        for (const std::int64_t sample : samples) {
            for (std::int64_t i = 0; i < 12 + sample * 7 % 61; ++i) ids.push_back((sample * 131 + i * 17) % 1000);
            offsets.push_back(static_cast<std::int64_t>(ids.size()));
        }
        return model.fixed_part(PackedInput::from_vectors(ids, {}, {}, offsets, {}));
    };
    std::vector<std::int64_t> all(40);
    std::iota(all.begin(), all.end(), std::int64_t{0});
    const torch::Tensor together = rows_of(all);
    for (const std::int64_t sample : all) {
        EXPECT_TRUE(torch::equal(rows_of({sample})[0], together[sample])) << "alone, " << sample;
        EXPECT_TRUE(torch::equal(rows_of({(sample + 11) % 40, sample, (sample + 3) % 40})[1], together[sample]));
    }
}

TEST(Bert, InputBeyondTheTablesIsABug) {
    const LoadedModel loaded = load_model(fixtures() / "classifier", {});
    const auto forward = [&](std::int64_t id, std::int64_t type, std::int64_t position) {
        loaded.model->forward(PackedInput::from_vectors({2, id, 3}, {0, type, 0}, {0, position, 2}, {0, 3}, {}),
                              std::nullopt);
    };
    EXPECT_NO_THROW(forward(99, 1, 47));
    EXPECT_THROW(forward(100, 0, 1), std::logic_error);
    EXPECT_THROW(forward(-1, 0, 1), std::logic_error);
    EXPECT_THROW(forward(5, 2, 1), std::logic_error);
    EXPECT_THROW(forward(5, 0, 48), std::logic_error);
}

// ---- folders ----

TEST(HuggingFaceFolder, ABareEncoderGetsANewHead) {
    LoadOptions options;
    options.labels = three_labels();
    for (const char* name : {"encoder", "sharded"}) {
        const LoadedModel loaded = load_model(fixtures() / name, options);
        EXPECT_EQ(loaded.report.initialised, (std::vector<std::string>{"classifier.weight", "classifier.bias"}));
        EXPECT_TRUE(loaded.report.ignored.empty());
        EXPECT_EQ(loaded.report.loaded.size(), 39U);
        EXPECT_EQ(loaded.config.label_names, three_labels().names);
        const auto parameters = loaded.model->named_parameter_list();
        const torch::Tensor head = parameters[parameters.size() - 2].second;
        EXPECT_TRUE(torch::equal(head.detach(), keyed_normal({3, 32}, 0.2, options.seed, "classifier.weight")));
        EXPECT_EQ(parameters.back().second.abs().max().item<float>(), 0.0F);
        const torch::Tensor wanted = torch::matmul(expected_of("encoder").load("pooled"), head.detach().t());
        EXPECT_LT(largest_difference(evaluated(loaded), wanted), 1e-5);
        EXPECT_NE(loaded.report.summary().find("newly initialised 2 (classifier.weight, classifier.bias)"),
                  std::string::npos);
    }
}

TEST(HuggingFaceFolder, TakesOldNamesAndListsWhatItIgnores) {
    const LoadedModel loaded = load_model(fixtures() / "pretraining", {});
    EXPECT_EQ(loaded.report.initialised, (std::vector<std::string>{"bert.pooler.dense.weight", "bert.pooler.dense.bias",
                                                                   "classifier.weight", "classifier.bias"}));
    ASSERT_EQ(loaded.report.ignored.size(), 8U);
    for (const std::string& name : loaded.report.ignored) EXPECT_EQ(name.rfind("cls.", 0), 0U) << name;
    const SafetensorsFile file(fixtures() / "pretraining/model.safetensors");
    for (const auto& [name, parameter] : loaded.model->named_parameter_list()) {
        if (name == "bert.encoder.layer.1.output.LayerNorm.weight") {
            EXPECT_TRUE(
                torch::equal(parameter, file.load("bert.encoder.layer.1.output.LayerNorm.gamma").to(torch::kFloat32)));
        }
        if (name == "bert.embeddings.LayerNorm.bias") {
            EXPECT_TRUE(torch::equal(parameter, file.load("bert.embeddings.LayerNorm.beta").to(torch::kFloat32)));
        }
    }
    EXPECT_TRUE(evaluated(loaded).isfinite().all().item<bool>());
}

/// The classifier's tensors under other names.
std::vector<std::pair<std::string, torch::Tensor>> renamed(
    const std::function<std::string(const std::string&)>& rename) {
    const SafetensorsFile file(fixtures() / "classifier/model.safetensors");
    std::vector<std::pair<std::string, torch::Tensor>> tensors;
    for (const auto& [name, info] : file.tensors()) {
        if (const std::string its_name = rename(name); !its_name.empty())
            tensors.emplace_back(its_name, file.load(name));
    }
    return tensors;
}

TEST(HuggingFaceFolder, TakesAModulePrefix) {
    const TemporaryFolder folder;
    TemporaryFolder::copy_model("classifier", folder.path() / "m");
    write_safetensors(folder.path() / "m/model.safetensors",
                      renamed([](const auto& name) { return "module." + name; }));
    const LoadedModel loaded = load_model(folder.path() / "m", {});
    EXPECT_TRUE(loaded.report.initialised.empty());
    EXPECT_LT(largest_difference(evaluated(loaded), expected_of("classifier").load("logits")), 1e-5);
}

TEST(HuggingFaceFolder, AHeadOfAnotherSizeIsReplacedOnlyWhenAsked) {
    LoadOptions options;
    options.labels = HeadLabels{{"no", "yes"}, false};
    expect_user_error([&] { load_model(fixtures() / "classifier", options); },
                      {"classifier", "has 3 labels but 2 are wanted", "--ignore_mismatched_sizes true"});
    options.ignore_mismatched_sizes = true;
    const LoadedModel loaded = load_model(fixtures() / "classifier", options);
    EXPECT_EQ(loaded.report.initialised, (std::vector<std::string>{"classifier.weight", "classifier.bias"}));
    EXPECT_EQ(loaded.report.ignored, (std::vector<std::string>{"classifier.bias", "classifier.weight"}));
    EXPECT_EQ(evaluated(loaded).size(1), 2);

    options.labels = HeadLabels{{}, true};
    EXPECT_TRUE(load_model(fixtures() / "classifier", options).config.regression);
    EXPECT_EQ(evaluated(load_model(fixtures() / "classifier", options)).size(1), 1);
}

TEST(HuggingFaceFolder, AHeadWithItsLabelsInAnotherOrderIsNotTakenSilently) {
    LoadOptions options;
    options.labels = HeadLabels{{"neutral", "entailment", "contradiction"}, false};
    expect_user_error([&] { load_model(fixtures() / "classifier", options); },
                      {"order contradiction, entailment, neutral", "order neutral, entailment, contradiction"});
    options.ignore_mismatched_sizes = true;
    EXPECT_EQ(load_model(fixtures() / "classifier", options).report.initialised.size(), 2U);
    options = {};
    options.labels = HeadLabels{{"a", "b", "c"}, false};
    EXPECT_TRUE(load_model(fixtures() / "classifier", options).report.initialised.empty());
}

TEST(HuggingFaceFolder, ANewHeadDependsOnTheSeedAlone) {
    const torch::Tensor one = keyed_normal({200, 300}, 0.02, 1, "classifier.weight");
    torch::manual_seed(99);
    EXPECT_TRUE(torch::equal(one, keyed_normal({200, 300}, 0.02, 1, "classifier.weight")));
    EXPECT_FALSE(torch::equal(one, keyed_normal({200, 300}, 0.02, 2, "classifier.weight")));
    EXPECT_FALSE(torch::equal(one, keyed_normal({200, 300}, 0.02, 1, "classifier.weights")));
    EXPECT_FLOAT_EQ(one[0][0].item<float>(), -0.01812376F) << "what it always was";
    EXPECT_FLOAT_EQ(one[0][2].item<float>(), 0.012919995F);
    EXPECT_NEAR(one.mean().item<double>(), 0.0, 4 * 0.02 / std::sqrt(60000.0));
    EXPECT_NEAR(one.std().item<double>(), 0.02, 4 * 0.02 / std::sqrt(2 * 60000.0));
    EXPECT_NEAR((one.abs() > 0.04).to(torch::kFloat32).mean().item<double>(), 0.0455, 0.004);
}

TEST(HuggingFaceFolder, EveryParameterOfADrawnModelLearns) {
    const LoadedModel drawn = draw_model(fixtures() / "classifier", {});
    const Batch batch;
    const torch::Tensor logits = drawn.model->forward(batch.input, std::nullopt);
    loss_sum(logits, batch.labels, false).backward();
    for (const auto& [name, parameter] : drawn.model->named_parameter_list()) {
        // What shifts all of a query's scores alike changes no probability: nothing but rounding is left.
        if (name.ends_with("self.key.bias")) continue;
        EXPECT_GT(parameter.grad().abs().max().item<double>(), 1e-6) << name;
        if (!name.ends_with("LayerNorm.weight")) continue;
        EXPECT_TRUE(parameter.eq(1).all().item<bool>()) << name;
    }
}

TEST(HuggingFaceFolder, RefusesWeightsOfAnotherShape) {
    const TemporaryFolder folder;
    TemporaryFolder::copy_model("classifier", folder.path() / "m");
    auto config = nlohmann::json::parse(read_file(folder.path() / "m/config.json"));
    config["vocab_size"] = 90;
    folder.write("m/config.json", config.dump());
    expect_user_error([&] { load_model(folder.path() / "m", {}); },
                      {"model.safetensors", "bert.embeddings.word_embeddings.weight", "[100, 32]", "[90, 32]"});
}

TEST(HuggingFaceFolder, RefusesHalfAnEncoder) {
    const TemporaryFolder folder;
    TemporaryFolder::copy_model("classifier", folder.path() / "m");
    const auto lacking = [](const std::string& name) {
        return name.find("layer.1.") == std::string::npos ? name : std::string();
    };
    write_safetensors(folder.path() / "m/model.safetensors", renamed(lacking));
    expect_user_error([&] { load_model(folder.path() / "m", {}); },
                      {"lack 16 of", "bert.encoder.layer.1.attention.self.query.weight"});
}

TEST(HuggingFaceFolder, RefusesTwoTensorsForOneParameter) {
    const TemporaryFolder folder;
    TemporaryFolder::copy_model("classifier", folder.path() / "m");
    auto tensors = renamed([](const auto& name) { return name; });
    tensors.emplace_back("embeddings.LayerNorm.gamma", torch::zeros({32}));
    write_safetensors(folder.path() / "m/model.safetensors", tensors);
    expect_user_error([&] { load_model(folder.path() / "m", {}); },
                      {"bert.embeddings.LayerNorm.weight", "embeddings.LayerNorm.gamma", "delete one"});
}

TEST(HuggingFaceFolder, RefusesWholeNumbersForWeights) {
    const TemporaryFolder folder;
    TemporaryFolder::copy_model("classifier", folder.path() / "m");
    auto tensors = renamed([](const auto& name) { return name; });
    tensors.front().second = tensors.front().second.to(torch::kInt32);
    write_safetensors(folder.path() / "m/model.safetensors", tensors);
    expect_user_error([&] { load_model(folder.path() / "m", {}); }, {tensors.front().first, "Int", "floating point"});
}

TEST(HuggingFaceFolder, SaysHowToConvertAPickle) {
    const TemporaryFolder folder;
    TemporaryFolder::copy_model("classifier", folder.path() / "m");
    std::filesystem::remove(folder.path() / "m/model.safetensors");
    expect_user_error([&] { load_model(folder.path() / "m", {}); }, {"neither model.safetensors nor"});
    folder.write("m/pytorch_model.bin", "");
    expect_user_error([&] { load_model(folder.path() / "m", {}); },
                      {"only pytorch_model.bin", "import BertForSequenceClassification; ", "save_pretrained"});
    folder.write("m/config.json", R"({"architectures": ["a; import os"]})");
    expect_user_error([&] { WeightFiles(folder.path() / "m"); }, {"import AutoModel; AutoModel.from_pretrained"});
}

TEST(HuggingFaceFolder, RefusesABrokenIndex) {
    const TemporaryFolder folder;
    TemporaryFolder::copy_model("sharded", folder.path() / "m");
    const std::string index = "m/model.safetensors.index.json";
    const auto whole = nlohmann::json::parse(read_file(folder.path() / index));
    const auto refuse = [&](const std::string& content, std::initializer_list<std::string> parts) {
        folder.write(index, content);
        expect_user_error([&] { load_model(folder.path() / "m", {}); }, parts);
    };
    refuse("{", {"index.json", "not valid JSON"});
    refuse("{}", {"no weight_map"});
    auto spoilt = whole;
    spoilt["weight_map"]["embeddings.LayerNorm.bias"] = "../elsewhere.safetensors";
    refuse(spoilt.dump(), {"embeddings.LayerNorm.bias", "beside the index"});
    spoilt["weight_map"]["embeddings.LayerNorm.bias"] = "model-00002-of-00002.safetensors";
    refuse(spoilt.dump(), {"embeddings.LayerNorm.bias", "model-00002-of-00002.safetensors", "does not have it"});
    folder.write(index, whole.dump());
    std::filesystem::remove(folder.path() / "m/model-00002-of-00002.safetensors");
    expect_user_error([&] { load_model(folder.path() / "m", {}); },
                      {"model-00002-of-00002.safetensors", "cannot be read"});
}

TEST(HuggingFaceFolder, RefusesMultiLabelHeadsUnlessLabelsAreGiven) {
    const TemporaryFolder folder;
    TemporaryFolder::copy_model("classifier", folder.path() / "m");
    auto config = nlohmann::json::parse(read_file(folder.path() / "m/config.json"));
    config["problem_type"] = "multi_label_classification";
    folder.write("m/config.json", config.dump());
    expect_user_error([&] { load_model(folder.path() / "m", {}); }, {"multi_label_classification"});
}

TEST(HuggingFaceFolder, ChecksTheVocabulary) {
    const BertConfig config = read_bert_config(fixtures() / "classifier");
    check_vocabulary(config, 100, "vocab.txt");
    expect_user_error([&] { check_vocabulary(config, 101, "m/vocab.txt"); }, {"m/vocab.txt", "101", "100 rows"});
}

TEST(HuggingFaceFolder, SavesWhatItLoads) {
    const TemporaryFolder folder;
    LoadOptions options;
    options.labels = three_labels();
    const LoadedModel loaded = load_model(fixtures() / "classifier", options);
    const auto saved = folder.path() / "a/b";
    save_model(saved, loaded.model->named_parameter_list(), loaded.config, fixtures() / "classifier");
    for (const char* file : {"vocab.txt", "tokenizer_config.json", "special_tokens_map.json"}) {
        EXPECT_EQ(read_file(saved / file), read_file(fixtures() / "classifier" / file)) << file;
    }
    EXPECT_FALSE(std::filesystem::exists(saved / "tokenizer.json"));
    const LoadedModel again = load_model(saved, {});
    EXPECT_TRUE(again.report.initialised.empty());
    EXPECT_TRUE(again.report.ignored.empty());
    EXPECT_EQ(again.config.label_names, three_labels().names);
    EXPECT_TRUE(torch::equal(evaluated(again), evaluated(loaded)));
    // Over itself: its own tokenizer files stay.
    save_model(saved, again.model->named_parameter_list(), again.config, saved);
    EXPECT_TRUE(std::filesystem::exists(saved / "vocab.txt"));

    folder.write("file", "");
    testing::expect_error<SystemError>(
        [&] { save_model(folder.path() / "file/x", loaded.model->named_parameter_list(), loaded.config, {}); },
        {"file/x"});
}

// ---- a real model, where there is one: STRATA_MINILM names the folder of all-MiniLM-L6-v2 ----

/// A batch like a sentence classifier's: 32 sequences of 3 to 43 tokens, 23 on average.
PackedInput sentence_batch() {
    std::vector<std::int64_t> ids, offsets{0};
    for (std::int64_t b = 0; b < 32; ++b) {
        const std::int64_t length = 3 + (b * 13 + 5) % 41;
        for (std::int64_t i = 0; i < length; ++i)
            ids.push_back(i == 0 ? 101 : i + 1 == length ? 102 : 1000 + (b * 977 + i * 131) % 28000);
        offsets.push_back(static_cast<std::int64_t>(ids.size()));
    }
    return PackedInput::from_vectors(ids, {}, {}, offsets, {});
}

TEST(RealModel, TrainsAStepOfMiniLM) {
    const char* folder = std::getenv("STRATA_MINILM");
    if (folder == nullptr) GTEST_SKIP() << "STRATA_MINILM does not name a model folder";
    const LoadedModel loaded = load_model(folder, {});
    EXPECT_EQ(loaded.report.initialised, (std::vector<std::string>{"classifier.weight", "classifier.bias"}));
    const PackedInput input = sentence_batch();
    const std::vector<double> labels(32, 1.0);
    if (const char* target = std::getenv("STRATA_SAVE_TO")) {
        // For tests/parity/check_folder.py: the folder, and what this program makes of the batch.
        const torch::NoGradGuard no_grad;
        save_model(target, loaded.model->named_parameter_list(), loaded.config, folder);
        write_safetensors(std::filesystem::path(target) / "batch.safetensors",
                          {{"ids", input.input_ids},
                           {"offsets", torch::tensor(input.offsets, torch::kInt64)},
                           {"logits", loaded.model->forward(input, std::nullopt)}});
    }
    double best = 1e9;
    for (std::int64_t step = 0; step < 8; ++step) {
        const auto start = std::chrono::steady_clock::now();
        loaded.model->zero_grad();
        const torch::Tensor loss = loss_sum(loaded.model->forward(input, DropoutKey{1, step}), labels, false);
        loss.backward();
        const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
        best = std::min(best, spent.count());
        EXPECT_TRUE(loss.isfinite().item<bool>());
    }
    std::printf("forward and backward of %ld tokens: %.1f ms\n", static_cast<long>(input.tokens()), best * 1e3);
}

}  // namespace
}  // namespace strata::models
