#include "apps/strata/step_bench.h"

#include <torch/types.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <unordered_map>

#include "apps/strata/model_costs.h"
#include "apps/strata/phase_timer.h"
#include "apps/strata/process_usage.h"
#include "apps/strata/threads.h"
#include "apps/strata/train_step.h"
#include "core/error.h"
#include "dist/agreement.h"
#include "dist/group_storage.h"
#include "models/packed_product.h"
#include "models/step_work.h"

namespace strata::app {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t warm_up_steps = 2;
constexpr std::int64_t most_profiled_steps = 10;

double median(std::vector<double> values) {
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}

/// Means over ranks, in place.
void average(std::span<double> values, dist::Communicator& communicator) {
    communicator.all_reduce_sum(values);
    for (double& value : values) value /= communicator.size();
}

/// Operations a second of one large product on this rank, while the others make theirs: the best of half a second.
double product_rate(optim::ComputeType type, dist::Communicator& communicator) {
    constexpr std::int64_t size = 2048;
    const torch::NoGradGuard no_grad;
    const auto options = torch::TensorOptions(dist::scalar_type(type));
    const torch::Tensor a = torch::rand({size, size}).to(options), b = torch::rand({size, size}).to(options);
    models::forward_product(a, b, {});
    communicator.barrier();
    double best = 1e300;
    for (const auto began = Clock::now(); seconds_since(began) < 0.5;) {
        const auto start = Clock::now();
        models::forward_product(a, b, {});
        best = std::min(best, seconds_since(start));
    }
    return 2.0 * size * size * size / best;
}

/// What one step took on this rank, and how much it was.
struct Sample {
    StepParts seconds;
    double processor_seconds = 0;
    double tokens = 0;
};

/// Makes steps of the plan's first stage over and over.
class Steps {
  public:
    Steps(const Config& config, const Experiment& experiment, const optim::Plan& plan, const RunLength& length,
          dist::Communicator& communicator)
        : step_(config, experiment, plan, length, communicator), stage_steps_(plan.stages.front().end_step) {}

    Sample make() {
        Sample sample;
        const double processor_before = processor_seconds();
        const auto began = Clock::now();
        const MadeStep made = step_.make(index(), false, true);
        sample.processor_seconds = processor_seconds() - processor_before;
        StepParts& seconds = sample.seconds;
        seconds.whole = seconds_since(began);
        seconds.input = made.work.input_seconds;
        seconds.forward = made.work.forward_seconds - made.work.input_seconds;
        seconds.backward = made.work.backward_seconds;
        seconds.reduce = made.report.seconds.reduce;
        seconds.update = made.report.seconds.norm + made.report.seconds.update;
        seconds.gather = made.report.seconds.gather;
        seconds.other = seconds.whole - seconds.input - seconds.forward - seconds.backward - seconds.reduce -
                        seconds.update - seconds.gather;
        sample.tokens = static_cast<double>(made.work.tokens);
        ++made_;
        return sample;
    }

    /// Whose slices of the state this rank has.
    int owner() const { return step_.ranks().owner(); }

    /// Of the next step within its stage.
    std::int64_t index() const { return made_ % stage_steps_; }

  private:
    TrainStep step_;
    std::int64_t stage_steps_;
    std::int64_t made_ = 0;
};

constexpr std::array parts{&StepParts::input,  &StepParts::forward, &StepParts::backward, &StepParts::reduce,
                           &StepParts::update, &StepParts::gather,  &StepParts::other,    &StepParts::whole};

/// The half of the steps that is neither the fastest nor the slowest quarter: whatever else the machine does is left
/// out, and the parts of the rest add up.
std::vector<Sample> middle_half(std::vector<Sample> samples) {
    std::sort(samples.begin(), samples.end(),
              [](const Sample& a, const Sample& b) { return a.seconds.whole < b.seconds.whole; });
    const auto quarter = static_cast<std::ptrdiff_t>(samples.size() / 4);
    return {samples.begin() + quarter, samples.end() - quarter};
}

void fill_times(StepBench& bench, const std::vector<Sample>& samples, dist::Communicator& communicator) {
    std::vector<double> speeds, values(parts.size(), 0.0);
    double tokens = 0, processor = 0;
    for (const Sample& sample : samples) {
        speeds.push_back(sample.tokens / sample.seconds.whole);
        tokens += sample.tokens / static_cast<double>(samples.size());
    }
    const std::vector<Sample> middle = middle_half(samples);
    for (const Sample& sample : middle) {
        for (std::size_t i = 0; i < parts.size(); ++i)
            values[i] += sample.seconds.*parts[i] / static_cast<double>(middle.size());
        processor += sample.processor_seconds / static_cast<double>(middle.size());
    }
    const auto [least, most] = std::minmax_element(speeds.begin(), speeds.end());
    values.insert(values.end(), {median(speeds), *least, *most, processor});
    average(values, communicator);
    for (std::size_t i = 0; i < parts.size(); ++i) bench.seconds.*parts[i] = values[i];
    bench.tokens_per_second = {values[parts.size()], values[parts.size() + 1], values[parts.size() + 2]};
    bench.processor_seconds = values[parts.size() + 3];
    bench.tokens = tokens;
}

/// The work of the steps with these indexes, on average.
double mean_operations(const Config& config, const Experiment& experiment, const optim::Plan& plan,
                       const RunLength& length, const std::vector<std::int64_t>& steps) {
    std::unordered_map<std::string, bool> trainable;
    for (std::size_t g = 0; g < plan.groups.size(); ++g) {
        for (const auto& segment : plan.groups[g].segments) trainable[segment.name] = plan.trainable(g, 0);
    }
    data::Sampler sampler(static_cast<std::uint64_t>(config.seed), experiment.train->size(), length.global_batch_size,
                          config.shuffle);
    auto model = models::read_bert_config(config.model_name_or_path);
    model.set_labels(experiment.labels.names, experiment.labels.regression);
    double sum = 0;
    for (const std::int64_t step : steps) {
        models::BatchLengths lengths;
        for (const auto sample : sampler.global_batch(step / length.steps_per_epoch, step % length.steps_per_epoch))
            lengths.add(experiment.train->length(sample));
        sum += models::step_operations(model, lengths, [&](const std::string& name) { return trainable.at(name); });
    }
    return sum / static_cast<double>(steps.size());
}

void fill_memory(StepBench& bench, const Config& config, const optim::Plan& plan, int owner,
                 dist::Communicator& communicator) {
    const auto costs = model_costs(config, plan, std::nullopt);
    bench.memory_peak = peak_resident_bytes();
    bench.activations = costs->stages.front().activation_bytes;
    bench.process = costs->process_bytes;
    bench.memory_planned = optim::memory_per_rank(plan, owner, 0).sum() + bench.activations + bench.process;
    for (std::int64_t* bytes : {&bench.memory_peak, &bench.memory_planned})
        *bytes = communicator.all_reduce_max(*bytes);
}

}  // namespace

StepBench measure_steps(const Config& config, Experiment& experiment, dist::Communicator& communicator) {
    StepBench bench;
    bench.ranks = communicator.size();
    bench.threads = thread_count();
    bench.steps = config.bench_steps;
    forget_peak();
    dist::collectively(communicator, "making the model", [&] { draw_network(config, experiment); });
    const int per_host = ranks_per_host(config, communicator);
    const auto [plan, length] = dist::collectively(communicator, "planning", [&] {
        const RunLength run = run_length(config, experiment.train->size(), communicator.size());
        return std::pair(make_train_plan(config, experiment.manifest(), run, communicator.size(), per_host), run);
    });
    dist::require_equal_everywhere(communicator, "the plan", plan.hash());
    bench.precision = optim::name_of(plan.compute);
    bench.parameters = plan.elements();
    bench.samples = length.global_batch_size;

    Steps steps(config, experiment, plan, length, communicator);
    for (std::int64_t i = 0; i < warm_up_steps; ++i) steps.make();
    std::vector<Sample> samples;
    std::vector<std::int64_t> indexes;
    const std::int64_t faults = page_faults();
    while (static_cast<std::int64_t>(samples.size()) < bench.steps) {
        indexes.push_back(steps.index());
        samples.push_back(steps.make());
    }
    bench.page_faults = static_cast<double>(page_faults() - faults) / static_cast<double>(bench.steps);
    fill_times(bench, samples, communicator);
    fill_memory(bench, config, plan, steps.owner(), communicator);
    {
        OperatorProfile profile;
        std::vector<double> seconds;
        for (std::int64_t i = 0; i < std::min(bench.steps, most_profiled_steps); ++i) {
            profile.begin_step();
            seconds.push_back(steps.make().seconds.whole);
            profile.end_step();
        }
        bench.operators = profile.operators();
        bench.profiled_seconds = median(std::move(seconds));
        bench.tensors_taken = communicator.all_reduce_max(profile.peak_tensor_bytes());
    }
    bench.operations = mean_operations(config, experiment, plan, length, indexes);
    std::array<double, 1> rate{product_rate(plan.compute, communicator)};
    communicator.all_reduce_sum(rate);
    bench.operations_per_second = rate[0];
    return bench;
}

}  // namespace strata::app
