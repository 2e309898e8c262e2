// A range test leaves the model, and a training that is under way with it, as they were. Run on 1, 2 and 4 ranks.
#include "apps/strata/lr_finder.h"

#include <ATen/CPUGeneratorImpl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>

#include "apps/strata/train_step.h"
#include "core/error.h"
#include "dist/mpi_communicator.h"

namespace strata::app {
namespace {

/// A linear layer over four numbers, a statistic that every training pass moves, and noise of torch's generator: all
/// the traces that a model can show.
class NoisyLinear : public models::Model {
  public:
    NoisyLinear() {
        weight_ = torch::linspace(-1, 1, 8).view({2, 4}).set_requires_grad(true);
        bias_ = torch::zeros({2}).set_requires_grad(true);
        mean_ = torch::zeros({4});
    }
    torch::Tensor forward(const models::Input& input, const std::optional<models::DropoutKey>& dropout) override {
        const torch::Tensor& values = std::get<models::DenseInput>(input).values;
        if (dropout) {
            mean_.mul_(0.9).add_(values.mean(0), 0.1);
            torch::rand({3});  // a trace, though nothing is done with it: ranks draw different numbers of times
        }
        return torch::linear(values, weight_, bias_);
    }
    models::NamedTensors named_parameter_list() const override {
        return {{"body.weight", weight_}, {"head.bias", bias_}};
    }
    models::NamedTensors named_buffer_list() const override { return {{"mean", mean_}}; }
    models::FolderWriter folder_writer(const std::filesystem::path&) const override { return {}; }

  private:
    torch::Tensor weight_, bias_, mean_;
};

class Numbers : public Corpus {
  public:
    explicit Numbers(double scale) : Corpus("numbers", true, labels_of(40)), scale_(scale) {}
    std::int64_t length(std::int64_t) const override { return 1; }

  private:
    static std::vector<double> labels_of(std::int64_t samples) {
        std::vector<double> labels;
        for (std::int64_t i = 0; i < samples; ++i) labels.push_back(static_cast<double>(i % 2));
        return labels;
    }
    models::Input input(std::span<const std::int64_t> samples, std::span<const std::int64_t> positions) const override {
        models::DenseInput input;
        input.values = torch::empty({static_cast<std::int64_t>(samples.size()), 4});
        for (std::size_t i = 0; i < samples.size(); ++i) {
            for (std::int64_t k = 0; k < 4; ++k) {
                const auto at = static_cast<double>(samples[i] * 4 + k);
                input.values[static_cast<std::int64_t>(i)][k] =
                    scale_ * (std::sin(at) + (samples[i] % 2 == 0 ? 0.5 : -0.5));
            }
        }
        input.sample_positions.assign(positions.begin(), positions.end());
        return input;
    }
    double scale_;
};

std::string bytes_of(const torch::Tensor& tensor) {
    const torch::Tensor whole = tensor.detach().contiguous();
    return {static_cast<const char*>(whole.const_data_ptr()), whole.nbytes()};
}

std::string random_state() {
    return bytes_of(at::detail::getDefaultCPUGenerator().get_state());
}

/// Everything a test could leave behind: values, where they lie, what trains, gradients, torch's random state.
std::string traces(const models::Model& model) {
    std::string out = random_state();
    for (const auto& list : {model.named_parameter_list(), model.named_buffer_list()}) {
        for (const auto& [name, tensor] : list) {
            out += fmt::format("{} {} {}", name, tensor.const_data_ptr(), tensor.requires_grad()) + bytes_of(tensor);
            if (tensor.grad().defined())
                out += fmt::format("{}", tensor.grad().const_data_ptr()) + bytes_of(tensor.grad());
        }
    }
    return out;
}

class LrFinder : public testing::Test {
  protected:
    LrFinder() {
        config_.learning_rate = 1e-2;
        config_.max_steps = 20;
        config_.per_device_train_batch_size = 8 / communicator_.size();
        config_.lr_scheduler_type = "constant";
        config_.policy = "prefix-decay";
        config_.bf16 = "false";
        config_.decay = 0.5;
        config_.momentum = 0;
        config_.start_lr = 1e-5;
        config_.num_it = 40;
        use(1.0);
    }
    void use(double scale) {
        experiment_.network = std::make_shared<NoisyLinear>();
        experiment_.train = std::make_shared<Numbers>(scale);
        experiment_.labels = {false, {"even", "odd"}};
        length_ = run_length(config_, experiment_.train->size(), communicator_.size());
        plan_ = make_train_plan(config_, experiment_.manifest(), length_, communicator_.size());
    }
    optim::RangeTest find(const std::string& group) {
        Progress bar(Progress::Mode::off, "lr-find", 1);
        return find_rates(config_, experiment_, plan_, length_, group, communicator_, nullptr, stop_, bar).value();
    }

    dist::MpiCommunicator communicator_;
    StopSignal stop_;
    Config config_;
    Experiment experiment_;
    RunLength length_{};
    optim::Plan plan_;
};

TEST_F(LrFinder, LeavesNoTraceInAModel) {
    const std::string before = traces(experiment_.model());
    for (const char* group : {"", "head"}) {
        const optim::RangeTest test = find(group);
        EXPECT_EQ(test.curve.rates().size(), 40U);
        EXPECT_NE(test.curve.losses().back(), test.curve.losses().front()) << "the test must have moved the weights";
        EXPECT_TRUE(traces(experiment_.model()) == before) << group;
    }
}

TEST_F(LrFinder, LeavesNoTraceInATrainingThatIsUnderWay) {
    TrainStep step(config_, experiment_, plan_, length_, communicator_);
    for (int i = 0; i < 5; ++i) step.make(i);
    const auto moments = [&] {
        std::string out;
        for (std::size_t g = 0; g < plan_.groups.size(); ++g) {
            const optim::SliceBuffers buffers = step.storage().buffers(g);
            const auto bytes = static_cast<std::size_t>(step.storage().slice(g).size()) * sizeof(float);
            for (const float* moment : {buffers.exp_avg, buffers.exp_avg_sq}) {
                out.append(reinterpret_cast<const char*>(moment), bytes);
            }
            out += fmt::format("{}", step.storage().group_steps()[g]);
        }
        return out;
    };
    const std::string model_before = traces(experiment_.model()), moments_before = moments();
    find("");
    find("body");
    EXPECT_TRUE(traces(experiment_.model()) == model_before);
    EXPECT_TRUE(moments() == moments_before);
    step.make(5);  // which checks that the model still lies in its storage
}

TEST_F(LrFinder, EveryRankFindsTheSame) {
    const optim::RangeTest test = find("");
    ASSERT_TRUE(test.suggestions);
    const std::string own(reinterpret_cast<const char*>(test.curve.losses().data()),
                          test.curve.losses().size() * sizeof(double));
    for (const std::string& other : communicator_.all_gather_bytes(own)) EXPECT_TRUE(other == own);
}

TEST_F(LrFinder, ALossThatIsNoNumberFromTheStartIsTheUsersToMend) {
    use(NAN);
    EXPECT_THAT([&] { find(""); }, testing::ThrowsMessage<UserError>(testing::AllOf(
                                       testing::HasSubstr("numbers"), testing::HasSubstr("is not a number"))));
}

}  // namespace
}  // namespace strata::app
