#include "dist/zero_optimizer.h"

#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <iterator>
#include <numeric>
#include <utility>

#include "core/error.h"
#include "optim/cuda_graph.h"
#include "optim/fused_update.h"
#include "optim/segment_table.h"

namespace strata::dist {
namespace {

class Stopwatch {
  public:
    double lap() {
        const auto now = std::chrono::steady_clock::now();
        const double seconds = std::chrono::duration<double>(now - began_).count();
        began_ = now;
        return seconds;
    }

  private:
    std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
};

optim::ReplayedWork::MakeRecording graphs_of([[maybe_unused]] CUstream_st* stream) {
#ifdef STRATA_WITH_CUDA
    return [stream] { return std::make_unique<optim::CudaGraph>(stream); };
#else
    STRATA_CHECK(false, "graphs in a build without CUDA");
#endif
}

}  // namespace

ZeroOptimizer::ZeroOptimizer(const optim::Plan& plan, GroupStorage& storage, const ShardRanks& ranks,
                             ZeroOptions options)
    : plan_(plan),
      storage_(storage),
      ranks_(ranks),
      options_(options),
      reducer_(plan, storage, ranks, {options.reduce_bytes, options.overlap}),
      gather_(storage, ranks, options.gather_bytes),
      slices_(make_slice_update(storage.memory_kind(), plan, options.stream)),
      tensors_(optim::tensor_of_sums(plan)) {
    STRATA_CHECK(plan.world_size == ranks.world().size() && plan.replicas == ranks.copy_count(),
                 "a plan for {} copies on {} ranks, on {} and {}", plan.replicas, plan.world_size, ranks.copy_count(),
                 ranks.world().size());
    if (plan.compute == optim::ComputeType::fp16) {
        loss_scale_.emplace();
        set_loss_scale(*loss_scale_);
    }
    if (options.cuda_graph) {
        STRATA_CHECK(slices_->on_device() != nullptr && options.stream != nullptr && !plan.deterministic,
                     "an update that cannot be captured");
        updates_.emplace(Replays{optim::ReplayedWork(graphs_of(options.stream), options.replay)});
    }
    if (options.pass_recordings) {
        STRATA_CHECK(options.cuda_graph, "passes that cannot be captured");
        passes_.emplace(Replays{optim::ReplayedWork(options.pass_recordings, options.replay)});
    }
    const std::int64_t owners = plan.owners();
    STRATA_CHECK(options.reduce_bytes >= owners * bytes_of(plan.gradient_type()) &&
                     options.gather_bytes >= owners * bytes_of(plan.compute),
                 "collectives of {} and {} bytes hold no element of each rank", options.reduce_bytes,
                 options.gather_bytes);
}

void ZeroOptimizer::backward(const torch::Tensor& loss, bool last) {
    gather_.wait();  // ranks without samples have read nothing
    begin_step();
    reducer_.backward(scaled(loss), last);
}

/// Null: the host does.
UpdateOnDevice* ZeroOptimizer::decides_there() const {
    return plan_.deterministic ? nullptr : slices_->on_device();
}

void ZeroOptimizer::set_loss_scale(const optim::LossScale& scale) {
    STRATA_CHECK(loss_scale_ && !undecided_, "a scale of the loss, in {}", undecided_ ? "a step" : "another precision");
    loss_scale_ = scale;
    if (UpdateOnDevice* const there = decides_there()) there->set_loss_scale(scale);
}

torch::Tensor ZeroOptimizer::scaled(const torch::Tensor& loss) const {
    if (!loss_scale_ || !loss.defined()) return loss;
    UpdateOnDevice* const there = decides_there();
    if (there == nullptr) return loss * scale();
    return loss * at::for_blob(there->loss_scale(), c10::IntArrayRef())
                      .options(torch::TensorOptions(torch::kFloat32).device(loss.device()))
                      .target_device(loss.device())
                      .make_tensor();
}

void ZeroOptimizer::passes(std::int64_t shape, const std::function<void()>& work) {
    gather_.wait();
    begin_step();
    const auto with_reductions = [&] {
        work();
        started_in_passes_ = reducer_.started_early();
        reducer_.finish();
    };
    if (passes_) {
        run(*passes_, shape, with_reductions);
    } else {
        with_reductions();
    }
    reduced_in_passes_ = true;
}

StepReport ZeroOptimizer::step(const StepInput& input) {
    storage_.require_bound();
    gather_.wait();
    learn();
    begin_step();
    StepReport report;
    report.step = input.step;
    report.reductions_in_backward = reduced_in_passes_ ? started_in_passes_ : reducer_.started_early();
    report.loss_scale = scale();
    for (std::size_t group = 0; group < storage_.groups(); ++group) {
        report.learning_rates.push_back(plan_.learning_rate(group, input.step));
    }
    if (UpdateOnDevice* const there = decides_there()) {
        step_on_device(*there, input, report);
    } else {
        step_on_host(input, report);
    }
    if (!input.leaves_report || ends_stage(input.step)) settle(report);
    report.traffic = ranks_.traffic() - *std::exchange(traffic_, std::nullopt);
    const Traffic unsent = gather_.unsent();
    report.traffic.all_gather.calls += unsent.calls;
    report.traffic.all_gather.bytes += unsent.bytes;
    if (ranks_.copies() != nullptr) {
        const Traffic& across = ranks_.copies()->traffic().all_reduce;
        report.across = {across.calls - across_.calls, across.bytes - across_.bytes};
    }
    return report;
}

/// Tells the passes of new spans, where groups have frozen or thawed, and of state that others may have written.
void ZeroOptimizer::lay_out() {
    if (layout_ != storage_.layout()) {
        layout_ = storage_.layout();
        slices_->lay_out(storage_.spans());
        frozen_weights_.clear();
    } else if (handed_out_ != storage_.handed_out()) {
        slices_->state_may_differ();
    }
    handed_out_ = storage_.handed_out();
}

void ZeroOptimizer::gather(const StepInput& input) {
    gather_.start(true);
    if (!input.leaves_gather) gather_.wait();
}

/// Where the host decides.
void ZeroOptimizer::step_on_host(const StepInput& input, StepReport& report) {
    Stopwatch watch;
    if (!std::exchange(reduced_in_passes_, false)) reducer_.finish();
    report.seconds.reduce = watch.lap();
    lay_out();
    measure(input, report);
    report.seconds.norm = watch.lap();
    std::vector<optim::GroupTelemetry> telemetry(input.telemetry ? storage_.groups() : 0);
    if (!report.skipped) {
        update(input.step, telemetry);
        report.seconds.update = watch.lap();
    }
    if (input.telemetry) {  // before slices are on their way, behind which its message would wait
        weigh(std::move(telemetry), report);
        report.seconds.norm += watch.lap();
    }
    if (!report.skipped) {
        gather(input);
        report.seconds.gather = watch.lap();
    }
    if (loss_scale_) loss_scale_->step(!report.skipped);
}

/// Where the GPU decides: the report stays open, but for the votes, which go from host to host by themselves. What is
/// the same at each update is captured where that is asked for; a logged one is made directly, since it measures.
void ZeroOptimizer::step_on_device(UpdateOnDevice& there, const StepInput& input, StepReport& report) {
    Stopwatch watch;
    const bool reduced = std::exchange(reduced_in_passes_, false);
    const bool captured = updates_ && !input.telemetry;
    const bool with_reductions = captured && !reduced && reducer_.all_in_finish();
    const bool with_gather = captured && !input.leaves_gather;
    if (!with_reductions && !reduced) reducer_.finish();
    report.seconds.reduce = watch.lap();
    lay_out();
    const std::vector<optim::GroupHyper> hypers = next_hypers(input.step);
    there.send({hypers, input.max_grad_norm, input.loss, input.loss_there});
    const auto work = [&] {
        if (with_reductions) reducer_.finish();
        launch(there, input.telemetry);
        if (with_gather) gather(input);
    };
    if (captured) {
        const auto way = run(*updates_, (with_reductions ? 1 : 0) + (with_gather ? 2 : 0), work);
        if (with_reductions && way == optim::ReplayedWork::Way::replayed) reducer_.finish_replayed();
    } else {
        work();
    }
    there.ended();
    undecided_ = {input.step, scale(), {}};
    report.settled = false;
    report.votes.assign(input.votes.begin(), input.votes.end());
    if (!report.votes.empty()) ranks_.world().all_reduce_sum(std::span(report.votes));
    report.seconds.update = watch.lap();
    if (input.telemetry) {
        std::vector<optim::GroupTelemetry> telemetry(storage_.groups());
        there.telemetry(telemetry);
        settle(report);
        weigh(std::move(telemetry), report);
        report.seconds.norm = watch.lap();
    }
    if (!with_gather) gather(input);
    report.seconds.gather = watch.lap();
}

/// The same calls at each update: all that changes is read from the GPU's memory.
void ZeroOptimizer::launch(UpdateOnDevice& there, bool measures) {
    const bool counts = ranks_.copy() == 0;  // copies hold the same slices, so one of them speaks for all
    ranks_.world().all_reduce_sum(there.start_sums(counts)).wait();
    there.decide();
    if (plan_.optimizer.kind != optim::OptimizerKind::lamb) return there.update(measures);
    ranks_.world().all_reduce_sum(there.start_lamb(counts)).wait();
    there.apply_lamb(measures);
}

/// Has the GPU do `work`, captured as soon as it can be. `key`: what it is made of.
optim::ReplayedWork::Way ZeroOptimizer::run(Replays& replays, std::int64_t key, const std::function<void()>& work) {
    const std::vector<Communicator*> communicators = ranks_.all();
    std::vector<std::int64_t> baked_in{storage_.layout()};
    std::vector<TrafficCounters> before;
    for (Communicator* communicator : communicators) {
        communicator->begin_replay();
        baked_in.push_back(communicator->memory_moves());
        before.push_back(communicator->traffic());
    }
    using Way = optim::ReplayedWork::Way;
    const Way way = replays.work.run(key, baked_in, work);
    if (way == Way::direct) return way;
    std::vector<TrafficCounters>& captured = replays.traffic[key];
    if (way == Way::recorded) {
        captured.clear();
        for (std::size_t i = 0; i < before.size(); ++i) captured.push_back(communicators[i]->traffic() - before[i]);
    }
    for (std::size_t i = 0; i < communicators.size(); ++i)
        communicators[i]->end_replay(way == Way::replayed ? captured[i] : TrafficCounters());
    return way;
}

/// Notes what had been sent before the step.
void ZeroOptimizer::begin_step() {
    if (traffic_) return;
    traffic_ = ranks_.traffic();
    if (ranks_.copies() != nullptr) across_ = ranks_.copies()->traffic().all_reduce;
}

/// Of all owners' sums. Copies hold the same slices, so one of them speaks for all.
void ZeroOptimizer::sum_over_ranks(std::span<double> values) {
    if (ranks_.copy() != 0) std::fill(values.begin(), values.end(), 0.0);
    ranks_.world().all_reduce_sum(values);
}

/// Norms, loss and votes of all ranks in one small all-reduce, and what follows from them. Each rank sums the squares
/// of its own slices, so each element counts once.
void ZeroOptimizer::measure(const StepInput& input, StepReport& report) {
    const optim::DecisionTerms terms{input.max_grad_norm, scale()};
    std::vector<double> sums(plan_.groups.size(), 0.0);
    if (plan_.deterministic) {
        const double loss = sum_tiles(input, sums, report.votes);
        sums.push_back(loss);
    } else {
        slices_->square_sums(sums);
        if (ranks_.copy() != 0) std::fill(sums.begin(), sums.end(), 0.0);
        sums.push_back(input.loss);  // every rank's own
        sums.insert(sums.end(), input.votes.begin(), input.votes.end());
        ranks_.world().all_reduce_sum(sums);
        const auto votes = sums.begin() + std::ssize(plan_.groups) + 1;
        report.votes.assign(votes, sums.end());
        sums.erase(votes, sums.end());
    }
    const optim::UpdateControl control = optim::decide(sums.data(), std::ssize(sums) - 1, terms);
    slices_->set_control(control);
    fill_in(sums, terms.loss_scale, report);
}

/// `sums`: each group's, and the loss.
void ZeroOptimizer::fill_in(std::span<const double> sums, double loss_scale, StepReport& report) const {
    const std::int64_t groups = std::ssize(sums) - 1;
    for (const double sum : sums.first(static_cast<std::size_t>(groups)))
        report.group_grad_norms.push_back(std::sqrt(sum) / loss_scale);
    report.grad_norm = optim::gradient_norm(sums.data(), groups, loss_scale);
    report.loss = sums.back();
    report.skipped = !std::isfinite(report.grad_norm) || !std::isfinite(report.loss);
    report.settled = true;
}

/// Whether the next step's groups may be others, with other counts.
bool ZeroOptimizer::ends_stage(std::int64_t step) const {
    return step + 1 >= plan_.total_steps || &plan_.stage_at(step) != &plan_.stage_at(step + 1);
}

/// Waits for what a GPU has decided, and takes the consequences: a skipped update has not counted.
void ZeroOptimizer::learn() {
    if (!undecided_) return;
    Decided decided = *std::exchange(undecided_, std::nullopt);
    const std::span<const double> sums = slices_->on_device()->sums();
    decided.sums.assign(sums.begin(), sums.end());
    const optim::UpdateControl control = optim::decide(sums.data(), std::ssize(sums) - 1, {0.0, decided.scale});
    if (!control.finite) {
        for (std::size_t group = 0; group < storage_.groups(); ++group) {
            if (storage_.live(group)) --storage_.group_steps()[group];
        }
    }
    if (loss_scale_) loss_scale_->step(control.finite);
    learned_.push_back(std::move(decided));
    if (learned_.size() > 2) learned_.pop_front();
}

void ZeroOptimizer::settle(StepReport& report) {
    if (report.settled) return;
    if (undecided_ && undecided_->step == report.step) learn();
    const auto found =
        std::find_if(learned_.rbegin(), learned_.rend(), [&](const Decided& step) { return step.step == report.step; });
    STRATA_CHECK(found != learned_.rend(), "the report of step {} comes too late", report.step);
    fill_in(found->sums, found->scale, report);
}

/// Each rank puts its own tiles' sums and micro-batches' losses in their places of a list that is zero elsewhere, so
/// the all-reduce adds nothing but zeros and rounds nothing; then every rank adds the list up in its order. Returns the
/// loss.
double ZeroOptimizer::sum_tiles(const StepInput& input, std::span<double> group_sums, std::vector<double>& votes) {
    const auto tiles_of = [](std::int64_t elements) {
        return static_cast<std::size_t>((elements + optim::deterministic_tile - 1) / optim::deterministic_tile);
    };
    const std::vector<double> own = slices_->tile_square_sums();
    std::vector<double> sums(input.micro_losses.begin(), input.micro_losses.end());
    auto next = own.begin();
    for (std::size_t group = 0; group < storage_.groups(); ++group) {
        if (!storage_.live(group)) continue;
        const optim::Slice slice = storage_.slice(group);
        const std::int64_t first = std::ssize(sums) + slice.begin / optim::deterministic_tile;
        sums.resize(sums.size() + tiles_of(plan_.groups[group].elements), 0.0);
        const auto tiles = static_cast<std::ptrdiff_t>(tiles_of(slice.size()));
        std::copy_n(next, tiles, sums.begin() + first);
        next += tiles;
    }
    STRATA_CHECK(next == own.end(), "{} tiles too many", own.end() - next);
    sums.insert(sums.end(), input.votes.begin(), input.votes.end());
    ranks_.world().all_reduce_sum(sums);
    votes.assign(sums.end() - std::ssize(input.votes), sums.end());
    auto at = sums.begin();
    const auto add_up = [&at](std::size_t count) {
        const auto begin = std::exchange(at, at + static_cast<std::ptrdiff_t>(count));
        return std::accumulate(begin, at, 0.0);
    };
    const double loss = add_up(input.micro_losses.size());
    for (std::size_t group = 0; group < storage_.groups(); ++group) {
        if (storage_.live(group)) group_sums[group] = add_up(tiles_of(plan_.groups[group].elements));
    }
    return loss;
}

/// Rates of an update that counts.
std::vector<optim::GroupHyper> ZeroOptimizer::next_hypers(std::int64_t step) {
    for (std::size_t group = 0; group < storage_.groups(); ++group) {
        if (storage_.live(group)) ++storage_.group_steps()[group];
    }
    return optim::make_hypers(plan_, step, storage_.group_steps());
}

void ZeroOptimizer::update(std::int64_t step, std::span<optim::GroupTelemetry> telemetry) {
    const std::vector<optim::GroupHyper> hypers = next_hypers(step);
    if (plan_.optimizer.kind != optim::OptimizerKind::lamb) {
        slices_->update(hypers, telemetry);
        return;
    }
    // A tensor's trust ratio needs its norms over all slices.
    std::vector<double> tensor_sums(2 * tensors_.size(), 0.0);
    slices_->lamb_moments(hypers, tensor_sums);
    sum_over_ranks(tensor_sums);
    optim::complete_tensor_sums(tensors_, tensor_sums);
    slices_->lamb_apply(hypers, tensor_sums, telemetry);
}

double ZeroOptimizer::weight_square_sum(std::size_t group) {
    const optim::SliceBuffers buffers = storage_.buffers(group);
    optim::UpdateSpan weights;
    weights.elements = storage_.slice(group).size();
    weights.type = buffers.type;
    weights.grad = buffers.param;
    if (buffers.param == nullptr) weights.grad16 = buffers.rounded;
    return slices_->square_sum(weights);
}

/// `sums` is what the update measured of this rank's slices. What it did not touch is summed here: frozen groups once,
/// since they do not move, and after a skipped update the live ones.
void ZeroOptimizer::weigh(std::vector<optim::GroupTelemetry> sums, StepReport& report) {
    const bool fresh = frozen_weights_.empty();
    frozen_weights_.resize(sums.size());
    for (std::size_t group = 0; group < sums.size(); ++group) {
        if (storage_.live(group)) {
            if (report.skipped) sums[group].weight_square_sum = weight_square_sum(group);
            continue;
        }
        if (fresh) frozen_weights_[group] = weight_square_sum(group);
        sums[group].weight_square_sum = frozen_weights_[group];
    }
    static_assert(sizeof(optim::GroupTelemetry) == 2 * sizeof(double));
    sum_over_ranks(std::span(&sums.data()->update_square_sum, 2 * sums.size()));
    for (const optim::GroupTelemetry& sum : sums) {
        const double norm = std::sqrt(sum.weight_square_sum);
        report.group_weight_norms.push_back(norm);
        report.group_update_ratios.push_back(norm > 0 ? std::sqrt(sum.update_square_sum) / norm : 0.0);
    }
}

void ZeroOptimizer::gather_parameters() {
    frozen_weights_.clear();
    storage_.round_masters();
    gather_.start(false);
    gather_.wait();
}

NamedParameters ZeroOptimizer::full_parameters(const NamedParameters& like) {
    gather_.wait();
    std::vector<torch::Tensor> wholes;
    for (std::size_t group = 0; group < storage_.groups(); ++group) {
        const torch::Tensor& whole = wholes.emplace_back(storage_.masters(group));
        const std::int64_t stride = plan_.slice_stride(group);
        if (!plan_.keeps_masters()) continue;
        const PartedView parts{whole.data_ptr(), stride, stride, ElementType::float32, storage_.memory_kind()};
        ranks_.owners().all_gather(parts).wait();
    }
    NamedParameters full;
    for (const auto& [name, parameter] : like) {
        const GroupStorage::ParameterPlace place = storage_.place_of(parameter);
        full.emplace_back(name, wholes[place.group].narrow(0, place.offset, parameter.numel()).view(parameter.sizes()));
    }
    return full;
}

void ZeroOptimizer::await_parameters(const std::vector<torch::Tensor>& parameters) {
    std::size_t last = 0;
    for (const torch::Tensor& parameter : parameters) last = std::max(last, storage_.place_of(parameter).group);
    gather_.wait_for(last);
}

}  // namespace strata::dist
