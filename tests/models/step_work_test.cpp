// A step's arithmetic, as the configuration tells it, against the products that LibTorch is seen to make.
#include "models/step_work.h"

#include <ATen/record_function.h>
#include <c10/util/ThreadLocalDebugInfo.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <memory>
#include <string_view>

#include "models/bert.h"
#include "models/losses.h"

namespace strata::models {
namespace {

/// 2 m k n of every product that begins while it observes.
class Products : public c10::DebugInfoBase {
  public:
    static std::unique_ptr<at::ObserverContext> see(const at::RecordFunction& function) {
        const std::string_view name = function.name();
        // addmm has what it adds to before the factors.
        const std::size_t first = name == "aten::mm" ? 0 : 1;
        if (first == 1 && name != "aten::addmm" && name != "aten::addmm_") return nullptr;
        auto* products = static_cast<Products*>(c10::ThreadLocalDebugInfo::get(c10::DebugInfoKind::TEST_INFO));
        products->add(function.inputs()[first], function.inputs()[first + 1]);
        return nullptr;
    }
    double operations = 0;

  private:
    void add(const c10::IValue& a, const c10::IValue& b) {
        operations += 2.0 * static_cast<double>(a.toTensor().numel()) * static_cast<double>(b.toTensor().size(1));
    }
};

BertConfig small_bert() {
    BertConfig config;
    config.vocab_size = 50;
    config.hidden_size = 24;
    config.num_hidden_layers = 3;
    config.num_attention_heads = 4;
    config.intermediate_size = 40;
    return config;
}

constexpr std::int64_t lengths[] = {5, 17, 9, 3};

double seen_operations(const BertConfig& config, const Trains& trains) {
    BertForSequenceClassification model(config);
    for (const auto& [name, parameter] : model.named_parameter_list()) {
        const torch::NoGradGuard no_grad;
        parameter.normal_(0.0, 0.02);
        parameter.set_requires_grad(trains(name));
        if (trains(name)) parameter.mutable_grad() = torch::zeros_like(parameter);
    }
    std::vector<std::int64_t> offsets{0};
    for (const auto length : lengths) offsets.push_back(offsets.back() + length);
    const std::vector<std::int64_t> ids(static_cast<std::size_t>(offsets.back()), 7);
    const PackedInput input = PackedInput::from_vectors(ids, {}, {}, offsets, {});
    const auto products = std::make_shared<Products>();
    const c10::DebugInfoGuard guard(c10::DebugInfoKind::TEST_INFO, products);
    const auto handle = at::addThreadLocalCallback(
        at::RecordFunctionCallback(&Products::see).needsInputs(true).scopes({at::RecordScope::FUNCTION}));
    loss_sum(model.forward(input, DropoutKey{1, 0}), {1, 0, 1, 1}, false).backward();
    at::removeCallback(handle);
    return products->operations;
}

/// Without attention's own products, which no operator of LibTorch makes.
double linear_operations(const BertConfig& config, const Trains& trains) {
    BatchLengths batch;
    for (const auto length : lengths) batch.add(length);
    const double all = step_operations(config, batch, trains);
    batch.squares = 0;
    const double without_pairs = step_operations(config, batch, trains);
    EXPECT_GT(all, without_pairs);
    // The last layer's queries are the first tokens': a pair for each token.
    const double last = first_tokens_only(config, trains, config.num_hidden_layers - 1)
                            ? 3 * 4.0 * static_cast<double>(batch.tokens * config.hidden_size)
                            : 0.0;
    return without_pairs - last;
}

void expect_seen(const char* what, const Trains& trains) {
    EXPECT_EQ(linear_operations(small_bert(), trains), seen_operations(small_bert(), trains)) << what;
}

bool in(const std::string& name, const char* part) {
    return name.find(part) != std::string::npos;
}

TEST(StepWork, IsWhatLibTorchMultiplies) {
    expect_seen("everything", [](const std::string&) { return true; });
    expect_seen("all but the embeddings", [](const std::string& name) { return !in(name, "embeddings"); });
    expect_seen("the top layer and the head", [](const std::string& name) {
        return in(name, "layer.2") || in(name, "pooler") || in(name, "classifier");
    });
    expect_seen("biases alone", [](const std::string& name) { return in(name, "bias"); });
    expect_seen("the head", [](const std::string& name) { return in(name, "classifier"); });
}

TEST(StepWork, AttentionCountsPairsOfTokens) {
    const BertConfig config = small_bert();
    const Trains all = [](const std::string&) { return true; };
    BatchLengths halves, whole;
    for (int i = 0; i < 2; ++i) halves.add(8);
    whole.add(16);
    whole.sequences = 2;  // as many first tokens
    // Two layers, forward and backward: 12 operations for each pair and column.
    EXPECT_EQ(step_operations(config, whole, all) - step_operations(config, halves, all),
              2 * 12.0 * (16 * 16 - 2 * 8 * 8) * static_cast<double>(config.hidden_size));
}

}  // namespace
}  // namespace strata::models
