#include "models/torchscript.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/script.h>

#include "models/padded_tokens.h"
#include "models/safetensors.h"
#include "tests/models/support.h"

namespace strata::models::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;

fs::path script(const std::string& name) {
    return fs::path(STRATA_FIXTURES) / "torchscript" / name;
}

std::vector<std::string> names_of(const NamedTensors& tensors) {
    std::vector<std::string> names;
    for (const auto& [name, tensor] : tensors) names.push_back(name);
    return names;
}

torch::Tensor named(const NamedTensors& tensors, const std::string& name) {
    for (const auto& [key, tensor] : tensors) {
        if (key == name) return tensor;
    }
    throw std::logic_error("no " + name);
}

DenseInput images() {
    return {torch::linspace(0, 1, 4 * 64).view({4, 1, 8, 8}), {0, 1, 2, 3}};
}

const DropoutKey key{3, 5};

TEST(TorchScript, parameters_and_buffers_come_in_the_order_of_registration) {
    const TorchScriptModel model(script("images.pt"));
    EXPECT_FALSE(model.takes_text());
    EXPECT_THAT(names_of(model.named_parameter_list()),
                ElementsAre("conv1.weight", "bn1.weight", "bn1.bias", "block.conv.weight", "block.conv.bias",
                            "block.bn.weight", "block.bn.bias", "fc.weight", "fc.bias"));
    EXPECT_THAT(names_of(model.named_buffer_list()),
                ElementsAre("bn1.running_mean", "bn1.running_var", "bn1.num_batches_tracked", "block.bn.running_mean",
                            "block.bn.running_var", "block.bn.num_batches_tracked"));
    EXPECT_TRUE(TorchScriptModel(script("text.pt")).takes_text());
}

TEST(TorchScript, training_and_evaluation_differ_as_the_module_says) {
    TorchScriptModel model(script("dropout.pt"));
    const auto evaluated = model.forward(images(), std::nullopt);
    EXPECT_TRUE(torch::equal(evaluated, model.forward(images(), std::nullopt)));
    EXPECT_EQ(named(model.named_buffer_list(), "bn1.num_batches_tracked").item<std::int64_t>(), 0);
    const auto trained = model.forward(images(), key);
    EXPECT_EQ(named(model.named_buffer_list(), "bn1.num_batches_tracked").item<std::int64_t>(), 1);
    EXPECT_FALSE(torch::equal(evaluated, trained));
    EXPECT_TRUE(torch::equal(trained, model.forward(images(), key))) << "masks are a function of seed and step";
    EXPECT_FALSE(torch::equal(trained, model.forward(images(), DropoutKey{3, 6})));
    DenseInput elsewhere = images();
    elsewhere.sample_positions = {4, 5, 6, 7};
    EXPECT_FALSE(torch::equal(trained, model.forward(elsewhere, key)));
}

/// The gradients and statistics of one forward and backward pass where only `trains` learns.
struct Pass {
    explicit Pass(TorchScriptModel& model, const std::string& trains) {
        for (auto& [name, parameter] : model.named_parameter_list()) {
            torch::Tensor(parameter).set_requires_grad(name.starts_with(trains));
        }
        output = model.forward(images(), key);
        first = named(model.named_buffer_list(), "bn1.running_mean").clone();
        second = named(model.named_buffer_list(), "block.bn.running_mean").clone();
    }
    torch::Tensor output, first, second;
};

TEST(TorchScript, a_frozen_layer_is_a_fixed_function) {
    TorchScriptModel all(script("dropout.pt"));
    const Pass everything(all, "");
    EXPECT_FALSE(torch::equal(everything.first, torch::zeros(4)));

    TorchScriptModel head(script("dropout.pt"));
    const Pass frozen(head, "fc.");
    EXPECT_TRUE(torch::equal(frozen.first, torch::zeros(4)));
    EXPECT_TRUE(torch::equal(frozen.second, torch::zeros(8)));
    EXPECT_TRUE(torch::equal(frozen.output, head.forward(images(), std::nullopt))) << "nor does it drop";

    TorchScriptModel upper(script("dropout.pt"));
    const Pass half(upper, "block.");
    EXPECT_TRUE(torch::equal(half.first, torch::zeros(4)));
    EXPECT_FALSE(torch::equal(half.second, torch::zeros(8)));

    TorchScriptModel following(script("dropout.pt"));
    following.set_statistics_in_frozen(true);
    const Pass followed(following, "fc.");
    EXPECT_TRUE(torch::equal(followed.first, everything.first));
    EXPECT_FALSE(torch::equal(followed.output, everything.output)) << "it does not drop";
    following.set_dropout_in_frozen(true);
    EXPECT_TRUE(torch::equal(Pass(following, "fc.").output, everything.output));
}

TEST(TorchScript, a_saved_model_is_the_model) {
    const TemporaryFolder folder;
    TorchScriptModel model(script("dropout.pt"));
    model.set_notes({{"bag", "boot", "coat"}, {0.25}, {0.5}});
    // As a run's storage has it: parameters are views of one arena.
    const torch::Tensor arena = torch::randn({4096});
    std::int64_t at = 0;
    for (auto& [name, parameter] : model.named_parameter_list()) {
        torch::Tensor(parameter).set_data(arena.narrow(0, at, parameter.numel()).view(parameter.sizes()));
        at += parameter.numel();
    }
    model.forward(images(), key);
    model.write_folder(folder.path(), {});
    EXPECT_LT(fs::file_size(folder.path() / "model.pt"), 40000u) << "the arena must stay out of the file";

    TorchScriptModel again(folder.path() / "model.pt");
    EXPECT_TRUE(torch::equal(again.forward(images(), std::nullopt), model.forward(images(), std::nullopt)));
    ASSERT_TRUE(again.notes());
    EXPECT_THAT(again.notes()->labels, ElementsAre("bag", "boot", "coat"));
    EXPECT_THAT(again.notes()->image_mean, ElementsAre(0.25));
    EXPECT_FALSE(torch::jit::load((folder.path() / "model.pt").string()).is_training());

    const SafetensorsFile tensors(folder.path() / "model.safetensors");
    EXPECT_EQ(tensors.tensors().size(), 15u);
    TorchScriptModel fresh(script("dropout.pt"));
    read_tensors(tensors, fresh.named_buffer_list());
    for (const auto& [name, buffer] : fresh.named_buffer_list()) {
        EXPECT_TRUE(torch::equal(buffer, named(model.named_buffer_list(), name))) << name;
    }
}

TEST(TorchScript, tied_weights_stay_tied) {
    const TemporaryFolder folder;
    const TorchScriptModel model(script("tied.pt"));
    const auto parameters = model.named_parameter_list();
    EXPECT_EQ(named(parameters, "first.weight").const_data_ptr(), named(parameters, "second.weight").const_data_ptr());
    model.write_folder(folder.path(), {});
    const auto again = TorchScriptModel(folder.path() / "model.pt").named_parameter_list();
    EXPECT_EQ(named(again, "first.weight").const_data_ptr(), named(again, "second.weight").const_data_ptr());
}

TEST(TorchScript, texts_are_padded) {
    const auto input = PackedInput::from_vectors({5, 6, 7, 8, 9}, {0, 1, 1, 0, 0}, {}, {0, 3, 5}, {});
    const PaddedTokens tokens = pad(input);
    EXPECT_TRUE(torch::equal(tokens.input_ids, torch::tensor({{5, 6, 7}, {8, 9, 0}}, torch::kInt64)));
    EXPECT_TRUE(torch::equal(tokens.attention_mask, torch::tensor({{1, 1, 1}, {1, 1, 0}}, torch::kInt64)));
    EXPECT_TRUE(torch::equal(tokens.token_type_ids, torch::tensor({{0, 1, 1}, {0, 0, 0}}, torch::kInt64)));
    TorchScriptModel model(script("text.pt"));
    const auto both = model.forward(input, std::nullopt);
    const auto second = model.forward(PackedInput::from_vectors({8, 9}, {}, {}, {0, 2}, {}), std::nullopt);
    EXPECT_LT((both[1] - second[0]).abs().max().item<double>(), 1e-6);
}

TEST(TorchScript, files_that_are_no_model_are_refused) {
    const TemporaryFolder folder;
    expect_user_error([] { TorchScriptModel("/no/such.pt"); }, {"/no/such.pt"});
    expect_user_error([&] { TorchScriptModel(folder.write("text.pt", "hello")); }, {"text.pt", "torch.jit.script"});
    expect_user_error([] { TorchScriptModel(script("state_dict.pt")); }, {"state_dict.pt", "torch.jit.script"});
    expect_user_error([] { TorchScriptModel(script("no_parameters.pt")); }, {"no parameters", "torch.jit.freeze"});
    expect_user_error([] { TorchScriptModel(script("half.pt")); }, {"weight", "Half", ".float()"});
    expect_user_error([] { TorchScriptModel(script("two_tensors.pt")); }, {"(left, right)", "one tensor"});
    const std::string whole = read_file(script("images.pt"));
    expect_user_error([&] { TorchScriptModel(folder.write("cut.pt", whole.substr(0, whole.size() / 2))); }, {"cut.pt"});
}

TEST(TorchScript, inputs_and_outputs_that_do_not_fit_are_refused) {
    TorchScriptModel model(script("images.pt"));
    expect_user_error(
        [&] {
            model.forward(DenseInput{torch::zeros({2, 3, 8, 8}), {0, 1}}, std::nullopt);
        },
        {"images.pt", "[2, 3, 8, 8]", "channels"});
    TorchScriptModel flat(script("one_number.pt"));
    expect_user_error([&] { flat.forward(images(), std::nullopt); }, {"one_number.pt", "[4]", "[batch, outputs]"});
}

}  // namespace
}  // namespace strata::models::testing
