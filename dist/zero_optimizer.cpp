#include "dist/zero_optimizer.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "core/error.h"
#include "optim/fused_update.h"

namespace strata::dist {
namespace {

/// Elements of one all-reduce: small enough that several are under way, large enough that latency does not count.
constexpr std::int64_t reduce_chunk = std::int64_t{4} << 20;

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

ZeroOptimizer::ZeroOptimizer(const optim::Plan& plan, GroupStorage& storage, Communicator& communicator)
    : plan_(plan), storage_(storage), communicator_(communicator), spans_(storage.spans()) {
    STRATA_CHECK(plan.world_size == communicator.size(), "a plan for {} ranks on {}", plan.world_size, communicator.size());
    STRATA_CHECK(plan.zero_stage == 1, "ZeRO stage {} is not built", plan.zero_stage);
}

StepReport ZeroOptimizer::step(const StepInput& input) {
    StepReport report;
    Stopwatch watch;
    reduce_gradients();
    report.seconds.reduce = watch.lap();

    // Groups' square sums, then the loss. A value that is not finite makes its sum so on every rank: no flag is needed.
    std::vector<double> sums(plan_.groups.size() + 1, 0.0);
    optim::square_sums_cpu(spans_, std::span(sums).first(plan_.groups.size()));
    sums.back() = input.loss;
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
    report.seconds.norm = watch.lap();
    if (report.skipped) return report;

    for (std::size_t group = 0; group < storage_.groups(); ++group) storage_.group_steps()[group] += storage_.live(group) ? 1 : 0;
    const auto hypers = optim::make_hypers(plan_, input.step, storage_.group_steps());
    const optim::UpdateControl control{static_cast<float>(clip_coefficient(report.grad_norm, input.max_grad_norm)), true};
    optim::fused_update_cpu(plan_.optimizer.kind, spans_, hypers, control);
    report.seconds.update = watch.lap();

    gather(true);
    report.seconds.gather = watch.lap();
    return report;
}

void ZeroOptimizer::reduce_gradients() {
    const std::span<float> all = storage_.gradients();
    std::vector<Pending> under_way;
    for (std::size_t begin = 0; begin < all.size(); begin += reduce_chunk) {
        const auto chunk = all.subspan(begin, std::min<std::size_t>(reduce_chunk, all.size() - begin));
        under_way.push_back(communicator_.all_reduce_sum(BufferView::of(chunk)));
    }
    for (Pending& pending : under_way) pending.wait();
}

void ZeroOptimizer::gather_parameters() {
    gather(false);
}

void ZeroOptimizer::gather(bool live_only) {
    std::vector<PartedView> pieces;
    for (std::size_t group = 0; group < storage_.groups(); ++group) {
        if (!live_only || storage_.live(group)) pieces.push_back(storage_.parameter_parts(group));
    }
    if (!pieces.empty()) communicator_.all_gather(pieces).wait();
}

}  // namespace strata::dist
