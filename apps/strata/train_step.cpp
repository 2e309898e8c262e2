#include "apps/strata/train_step.h"

#include "apps/strata/phase_timer.h"
#include "models/losses.h"

namespace strata::app {

TrainStep::TrainStep(const Config& config, const Experiment& experiment, const optim::Plan& plan,
                     const RunLength& length, dist::Communicator& communicator)
    : config_(config),
      experiment_(experiment),
      length_(length),
      communicator_(communicator),
      sampler_(static_cast<std::uint64_t>(config.seed), experiment.train->size(), length.global_batch_size,
               config.shuffle),
      storage_(plan, experiment.model().named_parameter_list(), communicator.rank()),
      optimizer_(plan, storage_, communicator),
      buffers_(experiment.model().named_buffer_list(), communicator) {
    experiment.model().set_dropout_in_frozen(config.frozen_dropout);
    experiment.model().set_statistics_in_frozen(config.frozen_batch_norm);
}

MadeStep TrainStep::make(std::int64_t step, bool telemetry) {
    MadeStep made;
    storage_.enter(step);
    storage_.zero_gradients();
    const double local_loss = forward_backward(step, made.work);
    made.report = optimizer_.step({step, config_.max_grad_norm, local_loss, telemetry});
    buffers_.settle(made.work.own_samples, made.report.skipped);
    return made;
}

/// All micro-batches of this rank; gradients add up in storage. Returns this rank's part of the step's loss.
double TrainStep::forward_backward(std::int64_t step, StepWork& work) {
    const auto batch = sampler_.global_batch(step / length_.steps_per_epoch, step % length_.steps_per_epoch);
    const auto batch_size = static_cast<std::int64_t>(batch.size());
    const data::BatchShape shape{config_.per_device_train_batch_size, communicator_.size(),
                                 config_.gradient_accumulation_steps};
    const models::DropoutKey dropout{static_cast<std::uint64_t>(config_.seed), step};
    double loss_part = 0;
    for (std::int64_t micro = 0; micro < shape.accumulation; ++micro) {
        const auto part = data::micro_batch(shape, batch_size, communicator_.rank(), micro);
        if (part.empty()) continue;
        work.own_samples += part.size();
        const auto samples = batch.subspan(static_cast<std::size_t>(part.begin), static_cast<std::size_t>(part.size()));
        const Batch inputs = experiment_.train->batch(samples, part.begin);
        torch::Tensor loss;
        {
            const PhaseTimer timer(work.forward_seconds);
            const auto logits = experiment_.model().forward(inputs.input, dropout);
            // The sum over this rank's samples divided by the count of all: summing over ranks gives the global mean.
            loss = models::loss_sum(logits, inputs.labels, experiment_.regression()) / static_cast<double>(batch_size);
            loss_part += loss.item<double>();
        }
        const PhaseTimer timer(work.backward_seconds);
        loss.backward();
    }
    work.samples = batch_size;
    for (const auto sample : batch) work.tokens += experiment_.train->length(sample);
    return loss_part;
}

}  // namespace strata::app
