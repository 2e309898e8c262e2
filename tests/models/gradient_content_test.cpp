#include "models/gradient_content.h"

#include <torch/types.h>

#include <limits>

#include "models/bert.h"
#include "models/hf_folder.h"
#include "models/losses.h"
#include "models/packed_linear.h"
#include "tests/models/batch.h"
#include "tests/models/support.h"
#include "tests/models/tensors.h"

namespace strata::models {
namespace {

using testing::Batch;
using testing::fixtures;
using testing::random_tensor;

/// Of parameters, and of their gradients.
struct Types {
    torch::ScalarType parameter, grad;
};

/// The committed model with gradients bound, as a storage binds them.
struct Network {
    explicit Network(Types types) : loaded(load_model(fixtures() / "classifier", {})) {
        for (auto& [name, parameter] : loaded.model->named_parameter_list()) {
            parameter.set_data(parameter.to(types.parameter));
            parameter.mutable_grad() = torch::zeros_like(parameter, types.grad);
            parameters.push_back(parameter);
        }
    }

    void backward(const std::vector<std::size_t>& sequences) const {
        const Batch batch(sequences, true);
        loss_sum(loaded.model->forward(batch.input, DropoutKey{3, 1}), batch.labels, false).backward();
    }
    torch::Tensor parameter(const std::string& name) const {
        for (const auto& [other, parameter] : loaded.model->named_parameter_list())
            if (other == name) return parameter;
        throw std::logic_error("no " + name);
    }

    LoadedModel loaded;
    std::vector<torch::Tensor> parameters;
};

/// So that whoever reads what only counts as zero is found out. Returns whether there was any.
bool poison(const torch::Tensor& grad) {
    if (!grad.ne(0).any().item<bool>()) return false;
    torch::Tensor(grad).fill_(std::numeric_limits<double>::quiet_NaN());
    return true;
}

class Gradients : public ::testing::TestWithParam<Types> {
  protected:
    void start() {
        stale_ = 0;
        for (const torch::Tensor& parameter : zeroed_.parameters) parameter.grad().zero_();
        for (const torch::Tensor& parameter : known_.parameters) {
            contents_.start_anew(parameter);
            if (poison(parameter.grad())) ++stale_;
        }
    }

    void end(const std::string& what) {
        for (std::size_t i = 0; i < known_.parameters.size(); ++i) {
            contents_.settle(known_.parameters[i]);
            EXPECT_TRUE(torch::equal(known_.parameters[i].grad(), zeroed_.parameters[i].grad()))
                << what << ", " << known_.loaded.model->named_parameter_list()[i].first;
        }
    }

    Network zeroed_{GetParam()}, known_{GetParam()};
    GradientContents contents_;
    std::size_t stale_ = 0;  // gradients that were not zeroed when the step began
};

TEST_P(Gradients, AreThoseOfAnArenaThatIsZeroed) {
    contents_.watch(known_.parameters);
    const std::vector<std::vector<std::vector<std::size_t>>> steps{
        {{0, 1, 2, 3, 4, 5}}, {{0, 3}, {5}}, {}, {{1}, {1}}, {{4, 2}}};
    for (std::size_t step = 0; step < steps.size(); ++step) {
        start();
        if (step == 1) {
            EXPECT_EQ(stale_, known_.parameters.size() - 3) << "all but the tables'";
        }
        for (const auto& micro_batch : steps[step]) {
            zeroed_.backward(micro_batch);
            known_.backward(micro_batch);
        }
        end("step " + std::to_string(step));
    }
}

TEST_P(Gradients, TakeWhatAutogradAddsToWhatKernelsMade) {
    contents_.watch(known_.parameters);
    const std::string layer = "bert.encoder.layer.0.attention.self.query.weight",
                      words = "bert.embeddings.word_embeddings.weight";
    for (int step = 0; step < 4; ++step) {
        start();
        for (const Network* network : {&zeroed_, &known_}) {
            if (step != 1) network->backward({0, 2});
            if (step == 0 || step == 3) continue;
            for (const std::string& name : {layer, words}) (network->parameter(name) * 2).sum().backward();
            if (step == 2) network->backward({1});
        }
        end("step " + std::to_string(step));
    }
}

TEST_P(Gradients, OfNewPlacesBeginWithZero) {
    contents_.watch(known_.parameters);
    start();
    known_.backward({0});
    const std::vector<torch::Tensor> some{known_.parameters.begin() + 5, known_.parameters.end()};
    contents_.watch({});
    for (const torch::Tensor& parameter : known_.parameters) torch::Tensor(parameter).mutable_grad() = torch::Tensor();
    for (const torch::Tensor& parameter : some)
        torch::Tensor(parameter).mutable_grad() = torch::zeros_like(parameter, GetParam().grad);
    contents_.watch(some);
    for (const torch::Tensor& parameter : some) contents_.start_anew(parameter);
    known_.backward({2});
    zeroed_.backward({2});
    for (std::size_t i = 5; i < known_.parameters.size(); ++i)
        EXPECT_TRUE(torch::equal(known_.parameters[i].grad(), zeroed_.parameters[i].grad())) << i;
}

TEST_P(Gradients, OfATableAreZeroedWhereOthersWrote) {
    contents_.watch(known_.parameters);
    start();
    const torch::Tensor words = known_.parameter("bert.embeddings.word_embeddings.weight");
    known_.backward({0});
    const std::int64_t width = words.size(1);
    words.grad().view({-1}).narrow(0, width + 1, 2 * width).fill_(7.0);
    contents_.start_anew(words, {width + 1, 3 * width + 1});
    EXPECT_FALSE(words.grad().ne(0).any().item<bool>());
}

INSTANTIATE_TEST_SUITE_P(Of, Gradients,
                         ::testing::Values(Types{torch::kFloat32, torch::kFloat32},
                                           Types{torch::kBFloat16, torch::kBFloat16},
                                           Types{torch::kBFloat16, torch::kFloat32}),
                         [](const auto& types) {
                             return std::string(torch::toString(types.param.parameter)) + "In" +
                                    torch::toString(types.param.grad);
                         });

TEST(WideGradients, AreTheNarrowOnesBeforeTheyAreRounded) {
    const Network narrow({torch::kBFloat16, torch::kBFloat16}), wide({torch::kBFloat16, torch::kFloat32});
    for (const Network* network : {&narrow, &wide}) network->backward({0, 1, 2, 3, 4, 5});
    std::size_t finer = 0;
    for (std::size_t i = 0; i < wide.parameters.size(); ++i) {
        const torch::Tensor grad = wide.parameters[i].grad();
        EXPECT_TRUE(torch::equal(grad.to(torch::kBFloat16), narrow.parameters[i].grad())) << i;
        if (!torch::equal(grad, narrow.parameters[i].grad().to(torch::kFloat32))) ++finer;
    }
    EXPECT_EQ(finer, wide.parameters.size());
    // What several micro-batches add is not rounded in between.
    for (int i = 1; i < 300; ++i) wide.backward({0, 1, 2, 3, 4, 5});
    const std::string bias = "bert.encoder.layer.1.output.LayerNorm.bias";
    const torch::Tensor mean = wide.parameter(bias).grad() / 300;
    EXPECT_TRUE(torch::allclose(mean.to(torch::kBFloat16), narrow.parameter(bias).grad(), 0.005, 1e-6));
}

/// One tensor under two names: each has a gradient of its own on the same memory.
TEST(TiedGradients, AreOneContent) {
    const torch::Tensor place = torch::zeros({4, 6});
    const torch::Tensor values = random_tensor({4, 6}, 1), x = random_tensor({3, 6}, 2), y = random_tensor({5, 6}, 3);
    std::vector<torch::Tensor> names;
    for (int i = 0; i < 2; ++i) {
        names.push_back(values.detach().requires_grad_());
        names.back().mutable_grad() = place.view({4, 6});
    }
    GradientContents contents;
    contents.watch(names);
    const torch::Tensor expected = torch::ones({4, 3}).mm(x) + torch::ones({4, 5}).mm(y);
    for (int step = 0; step < 3; ++step) {
        for (const torch::Tensor& name : names) contents.start_anew(name);
        EXPECT_EQ(poison(place), step > 0);
        (packed_linear(x, names[0], {}).sum() + packed_linear(y, names[1], {}).sum()).backward();
        EXPECT_TRUE(torch::allclose(place, expected, 1e-5, 1e-6)) << step;
    }
}

/// Of a module that is not ours.
TEST(WatchedGradients, AreOfAnyShape) {
    std::vector<torch::Tensor> parameters{torch::ones({}), torch::ones({1}), torch::ones({0}), torch::ones({0, 3})};
    for (torch::Tensor& parameter : parameters) {
        parameter.set_requires_grad(true);
        parameter.mutable_grad() = torch::zeros_like(parameter);
    }
    GradientContents contents;
    contents.watch(parameters);
    for (int step = 0; step < 3; ++step) {
        torch::Tensor loss = torch::zeros({});
        for (const torch::Tensor& parameter : parameters) {
            contents.start_anew(parameter);
            loss = loss + 3 * parameter.sum();
        }
        if (step != 1) loss.backward();
        for (const torch::Tensor& parameter : parameters) {
            contents.settle(parameter);
            EXPECT_TRUE(torch::equal(parameter.grad(), torch::full_like(parameter, step == 1 ? 0.0 : 3.0))) << step;
        }
    }
}

/// set_data() to another type makes another node, which no hook is on.
TEST(WatchedGradients, AreRefusedWhereTheirParameterIsAnother) {
    torch::Tensor parameter = torch::ones({4}).requires_grad_();
    parameter.mutable_grad() = torch::zeros_like(parameter);
    GradientContents contents;
    contents.watch({parameter});
    contents.start_anew(parameter);
    torch::Tensor grad = parameter.grad();
    parameter.mutable_grad() = torch::Tensor();
    parameter.set_data(parameter.to(torch::kFloat64));
    parameter.mutable_grad() = std::move(grad);
    EXPECT_THROW(contents.start_anew(parameter), std::exception);
}

TEST(UnwatchedGradients, AreAddedTo) {
    torch::Tensor weight = random_tensor({4, 6}, 1).requires_grad_();
    const torch::Tensor x = random_tensor({3, 6}, 2);
    weight.mutable_grad() = torch::ones_like(weight);
    {
        GradientContents contents;
        contents.watch({weight});
    }
    packed_linear(x, weight, {}).sum().backward();
    EXPECT_TRUE(torch::allclose(weight.grad(), 1 + torch::ones({4, 3}).mm(x)));
}

}  // namespace
}  // namespace strata::models
