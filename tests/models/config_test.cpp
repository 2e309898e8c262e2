#include "models/bert_config.h"
#include "tests/models/support.h"

namespace strata::models {
namespace {

using testing::expect_user_error;

BertConfig parse(const std::string& text) {
    return parse_bert_config(text, "config.json");
}

TEST(BertConfig, MissingKeysTakeTheirDefaults) {
    const BertConfig config = parse(R"({"model_type": "bert"})");
    EXPECT_EQ(config.vocab_size, 30522);
    EXPECT_EQ(config.hidden_size, 768);
    EXPECT_EQ(config.num_hidden_layers, 12);
    EXPECT_EQ(config.layer_norm_eps, 1e-12);
    EXPECT_EQ(config.head_dropout(), 0.1);
    EXPECT_EQ(config.label_names, (std::vector<std::string>{"LABEL_0", "LABEL_1"}));
    EXPECT_FALSE(config.labels_given);
    EXPECT_FALSE(config.regression);
}

TEST(BertConfig, ReadsLabels) {
    const BertConfig named = parse(R"({"model_type": "bert", "id2label": {"1": "yes", "0": "no", "2": "perhaps"}})");
    EXPECT_EQ(named.label_names, (std::vector<std::string>{"no", "yes", "perhaps"}));
    EXPECT_TRUE(named.labels_given);
    EXPECT_EQ(parse(R"({"model_type": "bert", "num_labels": 3})").num_labels(), 3);
    EXPECT_TRUE(parse(R"({"model_type": "bert", "num_labels": 1})").regression);
    EXPECT_FALSE(
        parse(R"({"model_type": "bert", "num_labels": 1, "problem_type": "single_label_classification"})").regression);
    const BertConfig many = parse(R"({"model_type": "bert", "num_labels": 12})");
    EXPECT_EQ(many.label_names[10], "LABEL_10");
}

TEST(BertConfig, HonoursClassifierDropoutAndPadding) {
    EXPECT_EQ(parse(R"({"model_type": "bert", "classifier_dropout": 0.3})").head_dropout(), 0.3);
    EXPECT_EQ(parse(R"({"model_type": "bert", "classifier_dropout": null, "hidden_dropout_prob": 0.2})").head_dropout(),
              0.2);
    EXPECT_EQ(parse(R"({"model_type": "bert", "pad_token_id": null})").pad_token_id, -1);
}

TEST(BertConfig, WritesBackWhatItRead) {
    BertConfig config = parse(R"({"model_type": "bert", "hidden_size": 64, "num_attention_heads": 4, "my_key": [1, 2],
                                  "architectures": ["BertModel"], "torch_dtype": "float16", "num_labels": 2})");
    config.set_labels({"a", "b", "c"}, false);
    const nlohmann::json json = config.to_json();
    EXPECT_EQ(json.at("my_key"), nlohmann::json({1, 2}));
    EXPECT_EQ(json.at("architectures"), nlohmann::json({"BertForSequenceClassification"}));
    EXPECT_EQ(json.at("id2label"), (nlohmann::json{{"0", "a"}, {"1", "b"}, {"2", "c"}}));
    EXPECT_EQ(json.at("label2id"), (nlohmann::json{{"a", 0}, {"b", 1}, {"c", 2}}));
    EXPECT_EQ(json.at("problem_type"), "single_label_classification");
    EXPECT_EQ(json.at("dtype"), "float32");
    EXPECT_FALSE(json.contains("torch_dtype"));
    EXPECT_FALSE(json.contains("num_labels"));
    const BertConfig again = parse(json.dump());
    EXPECT_EQ(again.hidden_size, 64);
    EXPECT_EQ(again.label_names, config.label_names);

    config.set_labels({}, true);
    EXPECT_EQ(config.to_json().at("problem_type"), "regression");
    EXPECT_TRUE(parse(config.to_json().dump()).regression);
}

TEST(BertConfig, RefusesOtherModels) {
    expect_user_error([] { parse(R"({"model_type": "deberta-v2"})"); },
                      {"config.json", "unsupported model_type 'deberta-v2'; supported: bert"});
    expect_user_error([] { parse("{}"); }, {"no model_type", "supported: bert"});
    expect_user_error([] { parse(R"({"model_type": 7})"); }, {"model_type is 7"});
    expect_user_error([] { parse(R"({"model_type": "bert", "position_embedding_type": "relative_key"})"); },
                      {"position_embedding_type", "relative_key"});
    expect_user_error([] { parse(R"({"model_type": "bert", "is_decoder": true})"); }, {"is_decoder"});
    expect_user_error([] { parse(R"({"model_type": "bert", "quantization_config": {"bits": 8}})"); }, {"quantized"});
}

struct Refused {
    std::string keys, expected;
};

class BertConfigRefuses : public ::testing::TestWithParam<Refused> {};

TEST_P(BertConfigRefuses, NamingTheKey) {
    expect_user_error([&] { parse("{\"model_type\": \"bert\", " + GetParam().keys + "}"); },
                      {"config.json", GetParam().expected});
}

INSTANTIATE_TEST_SUITE_P(
    Absurd, BertConfigRefuses,
    ::testing::Values(
        Refused{R"("hidden_size": -768)", "hidden_size is -768"}, Refused{R"("hidden_size": 0)", "hidden_size is 0"},
        Refused{R"("hidden_size": 100, "num_attention_heads": 12)", "not a multiple of num_attention_heads 12"},
        Refused{R"("num_hidden_layers": 1000000)", "num_hidden_layers is 1000000"},
        Refused{R"("vocab_size": 99999999999)", "vocab_size"},
        Refused{R"("vocab_size": 18446744073709551615)", "vocab_size"},
        Refused{R"("vocab_size": "30522")", "vocab_size is \"30522\", expected a whole number"},
        Refused{R"("vocab_size": null)", "vocab_size is null"},
        Refused{R"("num_attention_heads": 0)", "num_attention_heads"},
        Refused{R"("max_position_embeddings": 12.5)", "max_position_embeddings"},
        Refused{R"("pad_token_id": 30522)", "pad_token_id"},
        Refused{R"("hidden_dropout_prob": 1.0)", "hidden_dropout_prob is 1"},
        Refused{R"("classifier_dropout": -0.1)", "classifier_dropout"},
        Refused{R"("hidden_act": "swish")", "hidden_act 'swish'"}, Refused{R"("layer_norm_eps": 0)", "layer_norm_eps"},
        Refused{R"("initializer_range": -1)", "initializer_range"}, Refused{R"("num_labels": 0)", "num_labels"},
        Refused{R"("id2label": {"0": "a", "2": "b"})", "no name for id 1"}, Refused{R"("id2label": {})", "id2label"},
        Refused{R"("id2label": {"0": 1})", "no name for id 0"},
        Refused{R"("num_labels": 4, "problem_type": "regression")", "one output"}));

TEST(BertConfig, RefusesWhatIsNotJson) {
    expect_user_error([] { parse("{\"model_type\": "); }, {"config.json", "not valid JSON"});
    expect_user_error([] { parse("[1]"); }, {"expected a JSON object"});
}

TEST(BertConfig, NamesAMissingFolderOrFile) {
    const testing::TemporaryFolder folder;
    expect_user_error([&] { read_bert_config(folder.path() / "nowhere"); }, {"nowhere", "no such folder"});
    expect_user_error([&] { read_bert_config(folder.path()); }, {folder.path().string(), "no config.json"});
}

}  // namespace
}  // namespace strata::models
