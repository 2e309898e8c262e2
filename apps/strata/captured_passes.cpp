#include "apps/strata/captured_passes.h"

#include <algorithm>
#include <iterator>
#include <utility>
#include <variant>

#include "apps/strata/device.h"
#include "models/fused_attention.h"
#include "models/losses.h"

namespace strata::app {
namespace {

std::int64_t longest_of(const Corpus& corpus) {
    std::int64_t longest = 1;
    for (std::int64_t sample = 0; sample < corpus.size(); ++sample) longest = std::max(longest, corpus.length(sample));
    return longest;
}

/// Of the head alone, in place of a bucket's number of tokens.
constexpr std::int64_t shape_of_heads = 0;

/// With rows of zeros behind its own.
models::FixedInput with_dummies(models::FixedInput input, std::int64_t rows) {
    const std::int64_t dummies = rows - input.sequences();
    input.rows = torch::cat({input.rows, torch::zeros({dummies, input.rows.size(1)}, input.rows.options())});
    input.sample_positions.resize(static_cast<std::size_t>(rows), -1);
    return input;
}

}  // namespace

std::string why_passes_are_direct(const models::Model& model) {
    if (!model.has_fixed_calls()) return "LibTorch has no fused attention for this network";
    if (!has_pass_recordings()) return "this strata was built without LibTorch's CUDA half";
    return "";
}

bool captures_passes(const Config& config, const models::Model& model) {
    return captures_updates(config, device_of(model)) && why_passes_are_direct(model).empty();
}

CapturedPasses::CapturedPasses(const Experiment& experiment, std::int64_t per_device, dist::GroupStorage& storage,
                               dist::ZeroOptimizer& optimizer, CUstream_st* stream)
    : experiment_(experiment),
      per_device_(per_device),
      storage_(storage),
      optimizer_(optimizer),
      stream_(stream),
      device_(device_of(experiment.model())),
      buckets_(per_device, longest_of(*experiment.train)),
      loss_(torch::zeros({1}, torch::TensorOptions(torch::kFloat64).device(device_))) {}

/// The largest of any rank's micro-batches in this step: all wait for that one anyway, and all ranks must replay
/// together. Each rank knows all samples' lengths.
std::int64_t CapturedPasses::bucket(std::span<const std::int64_t> samples, const data::Dealt& dealt) const {
    std::int64_t largest = 0;
    for (const std::vector<data::Positions>& parts : dealt) {
        for (const data::Positions& part : parts) {
            std::int64_t tokens = 0;
            for (const std::int64_t position : part)
                tokens += experiment_.train->length(samples[static_cast<std::size_t>(position)]);
            largest = std::max(largest, buckets_.tokens(std::ssize(part), tokens));
        }
    }
    return largest;
}

const torch::Tensor& CapturedPasses::make(std::span<const std::int64_t> samples, const data::Dealt& dealt,
                                          std::int64_t rank, const models::DropoutKey& dropout,
                                          const FrozenOutputs* outputs) {
    const std::int64_t shape = outputs == nullptr ? bucket(samples, dealt) : shape_of_heads;
    const Inputs own = inputs_of(samples, dealt, rank, shape, dropout, outputs);
    auto& fixed = fixed_[shape];
    if (!fixed) fixed = std::make_unique<models::FixedTensors>(own.tensors, device_, stream_);
    fixed->send(own.tensors);
    const std::int64_t first =
        std::visit([](const auto& batch) { return batch.sample_positions.front(); }, own.batches.front());
    models::seed_fused_attention(device_, dropout, std::max<std::int64_t>(first, 0));  // a dummy's is -1
    optimizer_.passes(shape, [&] { run(own, fixed->there(), dropout); });
    return loss_;
}

CapturedPasses::Padded CapturedPasses::padded(std::span<const std::int64_t> samples, const data::Positions& positions,
                                              std::int64_t shape, const FrozenOutputs* outputs) const {
    if (outputs != nullptr) return with_dummies(outputs->rows(samples, positions), per_device_);
    return buckets_.padded(std::get<models::PackedInput>(experiment_.train->input(samples, positions)), shape);
}

CapturedPasses::Inputs CapturedPasses::inputs_of(std::span<const std::int64_t> samples, const data::Dealt& dealt,
                                                 std::int64_t rank, std::int64_t shape,
                                                 const models::DropoutKey& dropout,
                                                 const FrozenOutputs* outputs) const {
    Inputs inputs;
    inputs.tensors.push_back(models::step_key_tensor(dropout));
    for (const std::vector<data::Positions>& parts : dealt) {
        const data::Positions& part = parts[static_cast<std::size_t>(rank)];
        const std::vector<std::int64_t> its_samples = data::samples_at(samples, part);
        const Padded batch = padded(its_samples, part, shape, outputs);
        const auto rows = std::visit([](const auto& its) { return its.sequences(); }, batch);
        const models::Targets targets =
            models::make_targets(experiment_.train->labels_of(its_samples), experiment_.regression(),
                                 1.0 / static_cast<double>(samples.size()), rows);
        for (const torch::Tensor& tensor : std::visit([](const auto& its) { return models::tensors_of(its); }, batch))
            inputs.tensors.push_back(tensor);
        inputs.tensors.insert(inputs.tensors.end(), {targets.labels, targets.weights});
        inputs.batches.push_back(batch);
    }
    return inputs;
}

torch::Tensor CapturedPasses::logits(const models::PackedInput& input, const models::DropoutKey& key) const {
    return experiment_.model().forward(input, key);
}

torch::Tensor CapturedPasses::logits(const models::FixedInput& input, const models::DropoutKey& key) const {
    return experiment_.model().forward_from(input, key);
}

/// What is captured: of `like` it takes shapes alone, all else from the tensors.
void CapturedPasses::run(const Inputs& like, const std::vector<torch::Tensor>& tensors,
                         const models::DropoutKey& dropout) {
    storage_.zero_gradients();
    loss_.zero_();
    const models::DropoutKey key{dropout.seed, dropout.step, tensors.front()};
    const auto count = (std::ssize(tensors) - 1) / std::ssize(like.batches);
    auto next = tensors.begin() + 1;
    for (const Padded& batch : like.batches) {
        const auto targets = next + count - 2;
        const torch::Tensor logits = std::visit(
            [&](const auto& its) {
                return this->logits(models::with_tensors(its, {next, targets}), key);
            },
            batch);
        const torch::Tensor loss = models::loss_sum(logits, {targets[0], targets[1]});
        loss_.add_(loss.detach());
        optimizer_.backward(loss, &batch == &like.batches.back());
        next += count;
    }
}

}  // namespace strata::app
