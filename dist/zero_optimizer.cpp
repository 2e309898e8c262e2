#include "dist/zero_optimizer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <deque>
#include <utility>

#include "core/error.h"
#include "dist/gather_buckets.h"
#include "optim/fused_update.h"

namespace strata::dist {
namespace {

/// Collectives under way: a few at once, so that the scratch memory they take stays small.
class UnderWay {
  public:
    void add(Pending pending) {
        if (operations_.size() == limit) wait_for_oldest();
        operations_.push_back(std::move(pending));
    }
    void wait() {
        while (!operations_.empty()) wait_for_oldest();
    }

  private:
    static constexpr std::size_t limit = 4;

    void wait_for_oldest() {
        operations_.front().wait();
        operations_.pop_front();
    }

    std::deque<Pending> operations_;
};

/// torch.nn.utils.clip_grad_norm_ adds this to the norm.
constexpr double clip_epsilon = 1e-6;

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

double clip_coefficient(double norm, double max_norm) {
    return max_norm > 0 ? std::min(1.0, max_norm / (norm + clip_epsilon)) : 1.0;
}

}  // namespace

ZeroOptimizer::ZeroOptimizer(const optim::Plan& plan, GroupStorage& storage, Communicator& communicator,
                             ZeroOptions options)
    : plan_(plan), storage_(storage), communicator_(communicator), options_(options) {
    STRATA_CHECK(plan.world_size == communicator.size(), "a plan for {} ranks on {}", plan.world_size,
                 communicator.size());
    STRATA_CHECK(plan.zero_stage == 1, "ZeRO stage {} is not built", plan.zero_stage);
    const std::int64_t element = bytes_of(ElementType::float32);
    STRATA_CHECK(options.reduce_bytes >= element && options.gather_bytes / communicator.size() >= element,
                 "collectives of {} and {} bytes hold no element of each rank", options.reduce_bytes,
                 options.gather_bytes);
}

StepReport ZeroOptimizer::step(const StepInput& input) {
    storage_.require_bound();
    if (layout_ != storage_.layout()) {
        layout_ = storage_.layout();
        spans_ = storage_.spans();
        frozen_weights_.clear();
    }
    StepReport report;
    std::vector<optim::GroupTelemetry> telemetry(input.telemetry ? storage_.groups() : 0);
    const TrafficCounters before = communicator_.traffic();
    for (std::size_t group = 0; group < storage_.groups(); ++group) {
        report.learning_rates.push_back(plan_.learning_rate(group, input.step));
    }
    Stopwatch watch;
    reduce_gradients();
    report.seconds.reduce = watch.lap();
    measure(input.loss, report);
    report.seconds.norm = watch.lap();
    if (!report.skipped) {
        update(input, report.grad_norm, telemetry);
        report.seconds.update = watch.lap();
        gather(true);
        report.seconds.gather = watch.lap();
    }
    if (input.telemetry) {
        weigh(std::move(telemetry), report);
        report.seconds.norm += watch.lap();
    }
    report.traffic = communicator_.traffic() - before;
    return report;
}

void ZeroOptimizer::reduce_gradients() {
    const std::span<float> all = storage_.gradients();
    const std::size_t chunk = static_cast<std::size_t>(options_.reduce_bytes) / sizeof(float);
    UnderWay under_way;
    for (std::size_t begin = 0; begin < all.size(); begin += chunk) {
        const auto part = all.subspan(begin, std::min(chunk, all.size() - begin));
        under_way.add(communicator_.all_reduce_sum(BufferView::of(part)));
    }
    under_way.wait();
}

/// Norms and loss of all ranks in one small all-reduce. Each rank sums the squares of its own slices, so each element
/// counts once. A value that is not finite makes its sum so on every rank (a float's square cannot overflow a double):
/// no flag is needed, and all ranks decide alike.
void ZeroOptimizer::measure(double loss, StepReport& report) {
    std::vector<double> sums(plan_.groups.size() + 1, 0.0);
    optim::square_sums_cpu(spans_, std::span(sums).first(plan_.groups.size()));
    sums.back() = loss;
    communicator_.all_reduce_sum(sums);
    report.loss = sums.back();
    sums.pop_back();
    double total = 0;
    for (const double sum : sums) {
        report.group_grad_norms.push_back(std::sqrt(sum));
        total += sum;
    }
    report.grad_norm = std::sqrt(total);
    report.skipped = !std::isfinite(report.grad_norm) || !std::isfinite(report.loss);
}

void ZeroOptimizer::update(const StepInput& input, double grad_norm, std::span<optim::GroupTelemetry> telemetry) {
    for (std::size_t group = 0; group < storage_.groups(); ++group) {
        if (storage_.live(group)) ++storage_.group_steps()[group];
    }
    const auto hypers = optim::make_hypers(plan_, input.step, storage_.group_steps());
    const optim::UpdateControl control{static_cast<float>(clip_coefficient(grad_norm, input.max_grad_norm)), true};
    if (plan_.optimizer.kind != optim::OptimizerKind::lamb) {
        optim::fused_update_cpu(plan_.optimizer.kind, spans_, hypers, control, telemetry);
        return;
    }
    // A tensor's trust ratio needs its norms over all slices.
    std::vector<double> tensor_sums(2 * optim::tensor_count(plan_), 0.0);
    optim::lamb_moments_cpu(spans_, hypers, control, tensor_sums);
    communicator_.all_reduce_sum(tensor_sums);
    optim::lamb_apply_cpu(spans_, hypers, control, tensor_sums, telemetry);
}

double ZeroOptimizer::weight_square_sum(std::size_t group) {
    return optim::square_sum_cpu(storage_.buffers(group).param, storage_.slice(group).size());
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
    communicator_.all_reduce_sum(std::span(&sums.data()->update_square_sum, 2 * sums.size()));
    for (const optim::GroupTelemetry& sum : sums) {
        const double norm = std::sqrt(sum.weight_square_sum);
        report.group_weight_norms.push_back(norm);
        report.group_update_ratios.push_back(norm > 0 ? std::sqrt(sum.update_square_sum) / norm : 0.0);
    }
}

void ZeroOptimizer::gather_parameters() {
    frozen_weights_.clear();
    gather(false);
}

void ZeroOptimizer::gather(bool live_only) {
    std::vector<PartedView> parts;
    for (std::size_t group = 0; group < storage_.groups(); ++group) {
        if (!live_only || storage_.live(group)) parts.push_back(storage_.parameter_parts(group));
    }
    UnderWay under_way;
    for (const GatherBucket& bucket : gather_buckets(parts, options_.gather_bytes / communicator_.size())) {
        under_way.add(communicator_.all_gather(bucket));
    }
    under_way.wait();
}

}  // namespace strata::dist
