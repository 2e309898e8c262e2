// Whole training runs against plain PyTorch (fixtures/parity) and against themselves on other numbers of ranks.
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>

#include "models/safetensors.h"
#include "tests/distributed/job.h"

namespace strata::testing_support {
namespace {

constexpr double loss_tolerance = 1e-5;       // relative
constexpr double parameter_tolerance = 1e-5;  // absolute

class Ranks : public testing::TestWithParam<int> {};

std::vector<nlohmann::json> train(int ranks, const ScratchFolder& scratch, const std::vector<std::string>& more = {}) {
    const JobResult job = run_strata(ranks, with(parity_run(ranks, scratch / "run"), more));
    EXPECT_EQ(job.exit_code, 0) << job.output;
    return read_lines(scratch / "run/metrics.jsonl");
}

void expect_losses_near(const std::vector<nlohmann::json>& lines, const std::vector<nlohmann::json>& reference) {
    ASSERT_EQ(lines.size(), reference.size());
    for (std::size_t i = 0; i < lines.size(); ++i) {
        const double loss = reference[i]["loss"];
        EXPECT_NEAR(lines[i]["loss"].get<double>(), loss, loss_tolerance * loss) << "update " << i + 1;
        EXPECT_EQ(lines[i]["step"], reference[i]["step"]);
    }
}

double largest_difference(const std::string& file, const std::string& reference_file) {
    const models::SafetensorsFile own(file);
    const models::SafetensorsFile reference(reference_file);
    EXPECT_EQ(own.tensors().size(), reference.tensors().size());
    double largest = 0;
    for (const auto& [name, info] : reference.tensors()) {
        largest = std::max(largest, (own.load(name) - reference.load(name)).abs().max().item<double>());
    }
    return largest;
}

/// Of all parameters of a model together.
double weight_norm(const std::string& file) {
    const models::SafetensorsFile weights(file);
    double sum = 0;
    for (const auto& [name, info] : weights.tensors()) {
        sum += weights.load(name).to(torch::kFloat64).square().sum().item<double>();
    }
    return std::sqrt(sum);
}

double root_of_squares(const nlohmann::json& norms) {
    double sum = 0;
    for (const double norm : norms) sum += norm * norm;
    return std::sqrt(sum);
}

TEST_P(Ranks, twenty_updates_equal_pytorch) {
    const ScratchFolder scratch;
    const auto lines = train(GetParam(), scratch);
    const auto reference = read_json(parity("reference.json"));
    expect_losses_near(lines, reference["steps"]);
    for (std::size_t i = 0; i < lines.size(); ++i) {
        const double norm = reference["steps"][i]["grad_norm"];
        EXPECT_NEAR(lines[i]["grad_norm"].get<double>(), norm, 1e-4 * norm) << "update " << i + 1;
        for (const auto& [group, rate] : reference["steps"][i]["lr"].items()) {
            EXPECT_NEAR(lines[i]["lr"][group].get<double>(), rate.get<double>(), 1e-9)
                << group << " at update " << i + 1;
        }
    }
    const double norm = weight_norm((scratch / "run/model.safetensors").string());
    EXPECT_NEAR(root_of_squares(lines.back()["group_weight_norm"]), norm, 1e-6 * norm);
    EXPECT_LT(largest_difference((scratch / "run/model.safetensors").string(), parity("final.safetensors")),
              parameter_tolerance);
    const auto results = read_json(scratch / "run/all_results.json");
    EXPECT_NEAR(results["eval_loss"].get<double>(), reference["eval_loss"].get<double>(), 1e-4);
    EXPECT_EQ(results["eval_accuracy"].get<float>(), reference["eval_accuracy"].get<float>());
}

INSTANTIATE_TEST_SUITE_P(Training, Ranks, testing::Values(1, 2, 3, 4));

TEST(Training, gradient_accumulation_equals_a_larger_batch) {
    const ScratchFolder scratch;
    const auto lines = train(2, scratch, {"--per_device_train_batch_size", "2", "--gradient_accumulation_steps", "3"});
    expect_losses_near(lines, read_json(parity("reference.json"))["steps"]);
}

TEST_P(Ranks, own_slices_of_gradients_equal_pytorch) {
    const ScratchFolder scratch;
    const std::string micro_batches = GetParam() == 3 ? "2" : "3";
    const std::string samples = std::to_string(12 / GetParam() / std::stoi(micro_batches));
    const auto lines = train(GetParam(), scratch,
                             {"--zero_stage", "2", "--per_device_train_batch_size", samples,
                              "--gradient_accumulation_steps", micro_batches});
    expect_losses_near(lines, read_json(parity("reference.json"))["steps"]);
}

// Masks are keyed by a sample's place in the global batch, so even dropout does not depend on the number of ranks.
TEST(Training, dropout_and_shuffling_do_not_depend_on_ranks) {
    const std::vector<std::string> noise = {
        "--hidden_dropout_prob", "0.1", "--attention_probs_dropout_prob", "0.1", "--shuffle", "true"};
    const ScratchFolder one;
    const ScratchFolder three;
    const auto reference = train(1, one, noise);
    expect_losses_near(train(3, three, noise), reference);
    EXPECT_NE(reference[0]["loss"], read_json(parity("reference.json"))["steps"][0]["loss"])
        << "dropout must do something";
}

}  // namespace
}  // namespace strata::testing_support
