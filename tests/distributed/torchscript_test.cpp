// TorchScript modules through whole runs: against plain PyTorch (fixtures/torchscript), cut and resumed, evaluated, and
// refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/script.h>

#include "models/safetensors.h"
#include "tests/distributed/equal_runs.h"
#include "tests/distributed/job.h"

namespace strata::testing_support {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

constexpr double loss_tolerance = 1e-5;    // relative
constexpr double tensor_tolerance = 1e-5;  // absolute

std::string script(const std::string& name) {
    return std::string(STRATA_FIXTURES) + "/torchscript/" + name;
}

/// Flags equal to the reference of images.pt: 20 updates of 12 images on `ranks` ranks.
std::vector<std::string> image_run(int ranks, const fs::path& output_dir) {
    return {"train",
            "--torchscript",
            script("images.pt"),
            "--train_file",
            script("train-images-idx3-ubyte.gz"),
            "--validation_file",
            script("t10k-images-idx3-ubyte.gz"),
            "--output_dir",
            output_dir.string(),
            "--per_device_train_batch_size",
            std::to_string(12 / ranks),
            "--max_steps",
            "20",
            "--shuffle",
            "false",
            "--optim",
            "sgd",
            "--momentum",
            "0.9",
            "--learning_rate",
            "0.1",
            "--lr_scheduler_type",
            "constant",
            "--policy",
            "parameter-decay",
            "--decay",
            "0.9",
            "--logging_steps",
            "1",
            "--save_strategy",
            "no"};
}

void expect_losses(const fs::path& log, const nlohmann::json& reference) {
    const auto lines = read_lines(log);
    ASSERT_EQ(lines.size(), reference.size());
    for (std::size_t i = 0; i < lines.size(); ++i) {
        const double loss = reference[i];
        EXPECT_NEAR(lines[i]["loss"].get<double>(), loss, loss_tolerance * loss) << "update " << i + 1;
    }
}

/// Of the reference's tensors whose names begin with `prefix`, which the file's lack.
void expect_tensors(const fs::path& file, const std::string& reference_file, const std::string& prefix) {
    const models::SafetensorsFile own(file);
    const models::SafetensorsFile reference(reference_file);
    std::size_t count = 0;
    for (const auto& [name, info] : reference.tensors()) {
        if (!name.starts_with(prefix)) continue;
        ++count;
        const auto difference = own.load(name.substr(prefix.size())) - reference.load(name);
        EXPECT_LE(difference.abs().max().item<double>(), tensor_tolerance) << name;
    }
    EXPECT_EQ(own.tensors().size(), count);
}

/// torch alone must find in model.pt what model.safetensors has.
void expect_script_equals_tensors(const fs::path& folder) {
    const models::SafetensorsFile tensors(folder / "model.safetensors");
    const auto module = torch::jit::load((folder / "model.pt").string());
    std::size_t count = 0;
    for (const auto& item : module.named_parameters()) {
        EXPECT_TRUE(torch::equal(item.value, tensors.load(item.name))) << item.name;
        ++count;
    }
    for (const auto& item : module.named_buffers()) {
        EXPECT_TRUE(torch::equal(item.value, tensors.load(item.name))) << item.name;
        ++count;
    }
    EXPECT_EQ(count, 15u);
}

class ScriptRanks : public testing::TestWithParam<int> {};

TEST_P(ScriptRanks, twenty_updates_with_batch_norm_equal_pytorch) {
    const ScratchFolder scratch;
    expect_success(run_strata(GetParam(), image_run(GetParam(), scratch / "run")));
    const std::string ranks = std::to_string(GetParam());
    const auto reference = read_json(script("reference.json"))["images"][ranks];
    expect_losses(scratch / "run/metrics.jsonl", reference["losses"]);
    expect_tensors(scratch / "run/model.safetensors", script("images.safetensors"), ranks + "/");
    expect_script_equals_tensors(scratch.path() / "run");
    const auto results = read_json(scratch / "run/all_results.json");
    EXPECT_NEAR(results["eval_loss"].get<double>(), reference["eval"]["loss"].get<double>(), 1e-5);
    EXPECT_EQ(results["eval_accuracy"].get<float>(), reference["eval"]["accuracy"].get<float>());
}

TEST_P(ScriptRanks, an_encoder_of_texts_equals_pytorch) {
    const ScratchFolder scratch;
    auto flags = parity_run(GetParam(), scratch / "run");
    for (auto at = flags.begin(); at != flags.end();) {  // what belongs to a model folder, or is set below
        const bool drop = *at == "--model_name_or_path" || at->find("dropout") != std::string::npos ||
                          *at == "--layer_decay" || *at == "--warmup_steps";
        at = drop ? flags.erase(at, at + 2) : at + 1;
    }
    expect_success(
        run_strata(GetParam(), with(flags, {"--torchscript", script("text.pt"), "--tokenizer_name", parity("tiny_bert"),
                                            "--policy", "prefix-decay", "--decay", "0.5", "--learning_rate", "1e-2",
                                            "--lr_scheduler_type", "constant", "--weight_decay", "0"})));
    expect_losses(scratch / "run/metrics.jsonl", read_json(script("reference.json"))["text"]["losses"]);
    expect_tensors(scratch / "run/model.safetensors", script("text.safetensors"), "");
    // The run directory has the tokenizer: the module needs no other folder.
    expect_success(run_strata(1, {"predict", "--torchscript", (scratch / "run/model.pt").string(), "--test_file",
                                  parity("test.tsv"), "--output", (scratch / "out.jsonl").string()}));
    EXPECT_EQ(read_lines(scratch / "out.jsonl").size(), 32u);
}

/// The logits are scaled by one number.
TEST_P(ScriptRanks, a_parameter_without_dimensions_trains) {
    const ScratchFolder scratch;
    torch::jit::Module module("Scaled");
    module.register_parameter("scale", torch::tensor(1.5F), false);
    module.register_parameter("weight", torch::tensor({{0.5F, -1.0F, 0.25F}}), false);
    module.define("def forward(self, x):\n    return x.mean((2, 3)).matmul(self.weight) * self.scale\n");
    module.save((scratch / "scaled.pt").string());
    const auto scale_after = [&](int ranks, const std::string& folder) {
        const auto flags =
            with(image_run(ranks, scratch / folder), {"--torchscript", (scratch / "scaled.pt").string()});
        expect_success(run_strata(ranks, flags));
        return models::SafetensorsFile(scratch / folder / "model.safetensors").load("scale").item<double>();
    };
    const double scale = scale_after(GetParam(), "run");
    EXPECT_GT(std::abs(scale - 1.5), 1e-3);
    EXPECT_NEAR(scale, scale_after(1, "alone"), tensor_tolerance);
}

INSTANTIATE_TEST_SUITE_P(TorchScript, ScriptRanks, testing::Values(1, 2, 4));

class ScriptResume : public testing::TestWithParam<int> {};

/// Dropout, shuffling, statistics, and a stage that freezes some of them.
TEST_P(ScriptResume, cut_run_equals_uncut_run_bit_for_bit) {
    const ScratchFolder scratch;
    const std::string stages = scratch.write("stages.toml",
                                             "[[stage]]\nlength = \"9u\"\nfreeze_to = -6\n"
                                             "[[stage]]\nfreeze_to = 1\nlearning_rate = 0.05\n");
    const auto run = [&](const char* name) {
        return with(image_run(GetParam(), scratch / name),
                    {"--torchscript", script("dropout.pt"), "--config", stages, "--shuffle", "true", "--save_strategy",
                     "steps", "--save_steps", "6", "--logging_steps", "3", "--eval_steps", "5"});
    };
    expect_success(run_strata(GetParam(), run("whole")));
    expect_success(run_strata(GetParam(), run("cut")));
    fs::remove_all(scratch / "cut/checkpoint-20");
    fs::remove_all(scratch / "cut/checkpoint-18");
    fs::remove_all(scratch / "cut/checkpoint-12");  // as if it had died after update 6's
    fs::remove(scratch / "cut/model.safetensors");
    fs::remove(scratch / "cut/model.pt");
    expect_success(run_strata(GetParam(), with(run("cut"), {"--resume_from_checkpoint", "auto"})));
    expect_equal_runs(scratch / "whole", scratch / "cut");
    expect_script_equals_tensors(scratch.path() / "cut");
}

INSTANTIATE_TEST_SUITE_P(TorchScript, ScriptResume, testing::Values(1, 3));

class Script : public testing::Test {
  protected:
    torch::Tensor final_tensor(const char* name) {
        return models::SafetensorsFile(scratch_ / "run/model.safetensors").load(name);
    }
    void expect_refused(const std::vector<std::string>& flags, const testing::Matcher<std::string>& message) {
        const JobResult job = run_strata(2, with(image_run(2, scratch_ / "run"), flags));
        EXPECT_EQ(job.exit_code, 2) << job.output;
        EXPECT_THAT(job.output, message);
        EXPECT_FALSE(fs::exists(scratch_ / "run")) << "a refused run must leave no folder";
    }
    ScratchFolder scratch_;
};

TEST_F(Script, statistics_of_frozen_layers_stand_still_unless_told) {
    const std::string stage = scratch_.write("stage.toml", "[[stage]]\nfreeze_to = -1\n");
    const std::vector<std::string> head = {"--config", stage, "--policy", "prefix-decay", "--overwrite_output_dir",
                                           "true"};
    expect_success(run_strata(2, with(image_run(2, scratch_ / "run"), head)));
    EXPECT_TRUE(torch::equal(final_tensor("bn1.running_mean"), torch::zeros(4)));
    EXPECT_TRUE(torch::equal(final_tensor("block.bn.running_var"), torch::ones(8)));
    expect_success(run_strata(2, with(image_run(2, scratch_ / "run"), with(head, {"--frozen_batch_norm", "true"}))));
    EXPECT_FALSE(torch::equal(final_tensor("bn1.running_mean"), torch::zeros(4)));
    EXPECT_EQ(final_tensor("block.bn.num_batches_tracked").item<std::int64_t>(), 20);
}

TEST_F(Script, a_trained_module_brings_its_labels_and_normalisation) {
    expect_success(run_strata(
        2, with(image_run(2, scratch_ / "run"), {"--image_mean", "0.3", "--image_std", "0.6", "--max_steps", "12"})));
    const auto trained = read_json(scratch_ / "run/all_results.json");
    const std::string module = (scratch_ / "run/model.pt").string();
    const std::string images = script("t10k-images-idx3-ubyte.gz");
    for (const int ranks : {0, 3}) {
        expect_success(run_strata(ranks, {"evaluate", "--torchscript", module, "--validation_file", images,
                                          "--output_dir", (scratch_ / "eval").string()}));
        const auto again = read_json(scratch_ / "eval/all_results.json");
        EXPECT_EQ(again["eval_accuracy"], trained["eval_accuracy"]);
        EXPECT_NEAR(again["eval_loss"].get<double>(), trained["eval_loss"].get<double>(), 1e-6);
    }
    const JobResult refused =
        run_strata(0, {"evaluate", "--torchscript", module, "--validation_file", images, "--bf16", "true"});
    EXPECT_EQ(refused.exit_code, 2);
    EXPECT_THAT(refused.output, HasSubstr("bf16 is for models that strata builds itself"));
    const fs::path out = scratch_ / "predictions.jsonl";
    expect_success(
        run_strata(2, {"predict", "--torchscript", module, "--test_file", images, "--output", out.string()}));
    const auto lines = read_lines(out);
    ASSERT_EQ(lines.size(), 33u);
    double right = 0;
    for (std::size_t i = 0; i < lines.size(); ++i) right += lines[i]["label"] == static_cast<int>(i % 3) ? 1 : 0;
    EXPECT_NEAR(right / 33, trained["eval_accuracy"].get<double>(), 1e-6);
}

TEST_F(Script, a_plan_needs_no_data) {
    const JobResult job = run_strata(0, {"plan", "--torchscript", script("images.pt"), "--policy", "prefix-decay"});
    EXPECT_EQ(job.exit_code, 0) << job.output;
    EXPECT_THAT(job.output, AllOf(HasSubstr("conv1"), HasSubstr("bn1"), HasSubstr("block"), HasSubstr("fc")));
    const JobResult tied = run_strata(0, {"plan", "--torchscript", script("tied.pt"), "--policy", "parameter-decay"});
    EXPECT_EQ(tied.exit_code, 0) << tied.output;
    EXPECT_THAT(tied.output, testing::Not(HasSubstr("second.weight"))) << "a tied tensor has one name";
}

TEST_F(Script, tied_weights_train_as_one) {
    std::string features("\0\0\x0d\x02\0\0\0\x08\0\0\0\x04", 12);
    for (int i = 0; i < 32; ++i) features += std::string(i % 3 == 0 ? "\x3f\x80\0\0" : "\xbe\x80\0\0", 4);
    const std::string file = scratch_.write("x-features-idx2-float", features);
    scratch_.write("x-labels-idx1-ubyte", std::string("\0\0\x08\x01\0\0\0\x08\0\1\2\3\0\1\2\3", 16));
    expect_success(run_strata(2, {"train", "--torchscript", script("tied.pt"), "--train_file", file, "--output_dir",
                                  (scratch_ / "run").string(), "--max_steps", "3", "--learning_rate", "0.1"}));
    EXPECT_TRUE(torch::equal(final_tensor("first.weight"), final_tensor("second.weight")));
}

TEST_F(Script, modules_that_do_not_fit_are_refused) {
    expect_refused({"--torchscript", scratch_.write("hello.pt", "hello")}, HasSubstr("not a TorchScript file"));
    expect_refused({"--torchscript", script("no_parameters.pt")}, HasSubstr("no parameters"));
    expect_refused({"--torchscript", script("one_number.pt")}, HasSubstr("[batch, outputs]"));
    expect_refused({"--torchscript", script("half.pt")}, HasSubstr("Half"));
    expect_refused({"--torchscript", script("tied.pt")}, AllOf(HasSubstr("tied.pt"), HasSubstr("[1, 1, 8, 8]")));
    expect_refused({"--torchscript", script("text.pt")}, HasSubstr("--tokenizer_name"));
    expect_refused({"--model_name_or_path", parity("tiny_bert")}, HasSubstr("keep one"));
    expect_refused({"--hidden_dropout_prob", "0.1"}, HasSubstr("hidden_dropout_prob"));
}

TEST_F(Script, images_that_do_not_fit_are_refused) {
    expect_refused({"--train_file", parity("train.tsv")}, AllOf(HasSubstr("train.tsv"), HasSubstr("not an IDX file")));
    const std::string bytes = std::string("\0\0\x08\x03\0\0\0\1\0\0\0\x08\0\0\0\x08", 16) + std::string(64, 'x');
    const std::string images = scratch_.write("a-images-idx3-ubyte", bytes);
    expect_refused({"--validation_file", images}, HasSubstr("a-labels-idx1-ubyte"));
    scratch_.write("a-labels-idx1-ubyte", std::string("\0\0\x08\1\0\0\0\1\3", 9));
    expect_refused({"--validation_file", images}, AllOf(HasSubstr("label 3"), HasSubstr("3 outputs")));
    expect_refused({"--image_mean", "0.1,0.2"}, AllOf(HasSubstr("image_mean"), HasSubstr("1 channel")));
    expect_refused({"--image_std", "0"}, HasSubstr("image_std"));
}

}  // namespace
}  // namespace strata::testing_support
