#include "apps/strata/train_step.h"

#include <ATen/record_function.h>
#include <fmt/format.h>

#include <numeric>
#include <utility>

#include "apps/strata/device.h"
#include "apps/strata/known_gradients.h"
#include "apps/strata/phase_timer.h"
#include "models/fused_attention.h"
#include "models/losses.h"
#include "models/sent.h"

namespace strata::app {
namespace {

dist::ShardRanks shard_ranks(const Config& config, const optim::Plan& plan, dist::Communicator& communicator) {
    if (plan.replicas == 1) return communicator;
    return config.ranks_per_host > 0 ? dist::ShardRanks::by_block(communicator, plan.owners())
                                     : dist::ShardRanks::by_host(communicator);
}

dist::ZeroOptions options_of(const Config& config, const models::Model& model) {
    const torch::Device device = device_of(model);
    dist::ZeroOptions options{.overlap = config.overlap_comm,
                              .stream = compute_stream(device),
                              .cuda_graph = captures_updates(config, device)};
    if (captures_passes(config, model)) options.pass_recordings = pass_recordings();
    return options;
}

}  // namespace

int ranks_per_host(const Config& config, dist::Communicator& communicator) {
    if (config.shard == "all") return 0;
    return config.ranks_per_host > 0 ? static_cast<int>(config.ranks_per_host) : dist::ranks_of_each_host(communicator);
}

TrainStep::TrainStep(const Config& config, const Experiment& experiment, const optim::Plan& plan,
                     const RunLength& length, dist::Communicator& communicator, dist::Communicator* gpus)
    : config_(config),
      experiment_(experiment),
      plan_(plan),
      length_(length),
      communicator_(communicator),
      device_(device_of(experiment.model())),
      sampler_(static_cast<std::uint64_t>(config.seed), experiment.train->size(), length.global_batch_size,
               config.shuffle),
      ranks_(shard_ranks(config, plan, gpus == nullptr ? communicator : *gpus)),
      storage_(plan, experiment.model().named_parameter_list(), ranks_.owner(), std::nullopt, known_gradients(device_)),
      optimizer_(plan, storage_, ranks_, options_of(config, experiment.model())),
      buffers_(experiment.model().named_buffer_list(), communicator),
      frozen_outputs_(experiment.model(), *experiment.train, communicator, config.cache_frozen != "false") {
    experiment.model().set_before_reading([this](const auto& parameters) { optimizer_.await_parameters(parameters); });
    experiment.model().set_dropout_in_frozen(config.frozen_dropout);
    experiment.model().set_recomputes(config.gradient_checkpointing);
    experiment.model().set_ordered_sums(config.deterministic);
    experiment.model().set_statistics_in_frozen(config.frozen_batch_norm);
    if (captures_passes(config, experiment.model())) fix_shapes();
}

void TrainStep::fix_shapes() {
    passes_.emplace(experiment_, config_.per_device_train_batch_size, storage_, optimizer_, compute_stream(device_));
}

TrainStep::~TrainStep() {
    experiment_.model().set_before_reading({});
}

MadeStep TrainStep::make(std::int64_t step, bool telemetry, bool next,
                         const std::function<std::vector<double>()>& votes) {
    MadeStep made;
    communicator_.activity().enter(fmt::format("update {}", step + 1));
    storage_.enter(step);
    if (layout_ != storage_.layout()) {
        layout_ = storage_.layout();
        frozen_outputs_.enter_stage();
    }
    // Outputs of a frozen backbone are exchanged between forward passes, and a rank may have none of those.
    if (frozen_outputs_.on()) optimizer_.await_parameters();
    dist::StepInput input{.step = step, .max_grad_norm = config_.max_grad_norm, .telemetry = telemetry};
    // What is replayed whole waits for whole parameters.
    input.leaves_gather = next && config_.overlap_comm && !passes_;
    input.leaves_report = next;
    std::vector<Loss> losses;
    if (passes_) {
        losses.push_back({communicator_.rank(), passes_of_fixed_shape(step, made.work)});
    } else {
        storage_.zero_gradients();
        losses = forward_backward(step, made.work);
    }
    const std::vector<double> cast = votes ? votes() : std::vector<double>();
    input.votes = cast;
    std::vector<double> read_losses;
    torch::Tensor sum;  // on a GPU: a look at it would stop the host
    if (plan_.deterministic) {
        input.micro_losses = read_losses = read(losses);
    } else if (device_.is_cpu()) {
        read_losses = read(losses);
        input.loss = std::accumulate(read_losses.begin(), read_losses.end(), 0.0);
    } else if (!losses.empty()) {
        for (const Loss& loss : losses) sum = sum.defined() ? sum + loss.value : loss.value.to(torch::kFloat64);
        input.loss_there = sum.const_data_ptr<double>();
    }
    {
        RECORD_USER_SCOPE("optimizer");
        made.report = optimizer_.step(input);
    }
    buffers_.settle(made.work.own_samples, made.report.skipped);
    return made;
}

data::Dealt TrainStep::deal(Samples batch) const {
    const data::BatchShape shape{config_.per_device_train_batch_size, communicator_.size(), plan_.micro_batches};
    const std::vector<std::int64_t> lengths = experiment_.train->lengths_of(batch);
    data::Dealt dealt(static_cast<std::size_t>(shape.accumulation));
    for (std::int64_t turn = 0; turn < shape.accumulation; ++turn) {
        auto& parts = dealt[static_cast<std::size_t>(turn)];
        if (!plan_.deterministic) {
            parts = data::micro_batch(shape, lengths, turn);
            continue;
        }
        for (std::int64_t rank = 0; rank < shape.ranks; ++rank)
            parts.push_back(data::fixed_micro_batch(shape.per_device, std::ssize(batch), turn * shape.ranks + rank));
    }
    return dealt;
}

/// One for each time the optimizer's backward() is called; empty where this rank has no samples then.
std::vector<TrainStep::MicroBatch> TrainStep::own_micro_batches(Samples batch, const data::Dealt& dealt) const {
    std::vector<MicroBatch> own;
    std::int64_t index = communicator_.rank();
    for (const std::vector<data::Positions>& parts : dealt) {
        const data::Positions& positions = parts[static_cast<std::size_t>(communicator_.rank())];
        own.push_back({positions, data::samples_at(batch, positions), index});
        index += communicator_.size();
    }
    return own;
}

models::Input TrainStep::input_of(const MicroBatch& part, StepWork& work) const {
    RECORD_USER_SCOPE("input");
    const PhaseTimer timer(work.input_seconds);
    return experiment_.train->input(part.samples, part.positions);
}

/// The part of the step's loss that is of these samples: their sum divided by the count of all samples, so that summing
/// over ranks and micro-batches gives the global mean.
torch::Tensor TrainStep::loss_of(const MicroBatch& part, const models::DropoutKey& dropout, StepWork& work) {
    torch::Tensor logits;
    if (frozen_outputs_.on()) {
        models::FixedInput kept = frozen_outputs_.rows(part.samples, part.positions);
        kept.rows = models::sent(kept.rows, device_);
        logits = experiment_.model().forward_from(kept, dropout);
    } else {
        logits = experiment_.model().forward(on_device(input_of(part, work), device_), dropout);
    }
    const std::vector<double> labels = experiment_.train->labels_of(part.samples);
    return models::loss_sum(logits, labels, experiment_.regression()) / static_cast<double>(work.samples);
}

TrainStep::Samples TrainStep::samples_of(std::int64_t step, StepWork& work) {
    const auto batch = sampler_.global_batch(step / length_.steps_per_epoch, step % length_.steps_per_epoch);
    work.samples = work.backbone_samples = static_cast<std::int64_t>(batch.size());
    for (const auto sample : batch) work.tokens += experiment_.train->length(sample);
    return batch;
}

models::DropoutKey TrainStep::dropout_key(std::int64_t step) const {
    return {static_cast<std::uint64_t>(config_.seed), step};
}

/// What a frozen backbone makes of the step's samples, while that is kept.
void TrainStep::keep_outputs(Samples batch, const std::vector<MicroBatch>& own, StepWork& work) {
    if (!frozen_outputs_.on()) return;
    const PhaseTimer timer(work.forward_seconds);
    std::vector<Samples> parts;
    for (const MicroBatch& part : own) {
        if (!part.samples.empty()) parts.emplace_back(part.samples);
    }
    work.backbone_samples = frozen_outputs_.keep(batch, parts);
}

/// As forward_backward, in calls that can be captured. Returns the loss of all of them.
torch::Tensor TrainStep::passes_of_fixed_shape(std::int64_t step, StepWork& work) {
    const Samples batch = samples_of(step, work);
    const data::Dealt dealt = deal(batch);
    const std::vector<MicroBatch> own = own_micro_batches(batch, dealt);
    for (const MicroBatch& part : own) work.own_samples += std::ssize(part.samples);
    communicator_.activity().enter_part("forward and backward");
    keep_outputs(batch, own, work);
    const PhaseTimer timer(work.forward_seconds);
    torch::Tensor loss = passes_->make(batch, dealt, communicator_.rank(), dropout_key(step),
                                       frozen_outputs_.on() ? &frozen_outputs_ : nullptr);
    communicator_.activity().enter_part("optimizer");
    return loss;
}

/// All micro-batches of this rank; gradients add up in storage, and leave. Returns the loss of each.
std::vector<TrainStep::Loss> TrainStep::forward_backward(std::int64_t step, StepWork& work) {
    const Samples batch = samples_of(step, work);
    const std::vector<MicroBatch> own = own_micro_batches(batch, deal(batch));
    const models::DropoutKey dropout = models::key_on(dropout_key(step), device_);
    const data::Positions& first = own.front().positions;
    models::seed_fused_attention(device_, dropout, first.empty() ? 0 : first.front());
    keep_outputs(batch, own, work);
    std::vector<Loss> losses;
    for (const MicroBatch& part : own) {
        torch::Tensor loss;
        if (!part.samples.empty()) {
            communicator_.activity().enter_part("forward");
            RECORD_USER_SCOPE("forward");
            const PhaseTimer timer(work.forward_seconds);
            work.own_samples += static_cast<std::int64_t>(part.samples.size());
            loss = loss_of(part, dropout, work);
            losses.push_back({part.index, loss.detach()});
        }
        communicator_.activity().enter_part("backward");
        RECORD_USER_SCOPE("backward");
        const PhaseTimer timer(work.backward_seconds);
        optimizer_.backward(loss, &part == &own.back());
    }
    communicator_.activity().enter_part("optimizer");
    return losses;
}

/// The loss of each of the step's micro-batches, 0 for other ranks'.
std::vector<double> TrainStep::read(const std::vector<Loss>& losses) const {
    std::vector<double> values(static_cast<std::size_t>(length_.micro_batches), 0.0);
    for (const Loss& loss : losses) values[static_cast<std::size_t>(loss.index)] = loss.value.item<double>();
    return values;
}

}  // namespace strata::app
