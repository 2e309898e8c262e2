#include "apps/strata/lr_finder.h"

#include <cmath>

#include "apps/strata/model_guard.h"
#include "apps/strata/train_step.h"
#include "dist/agreement.h"

namespace strata::app {

std::optional<optim::RangeTest> find_rates(const Config& config, const Experiment& experiment, const optim::Plan& plan,
                                           const RunLength& length, const std::string& group,
                                           dist::Communicator& communicator, dist::Communicator* gpus,
                                           const StopSignal& stop, Progress& bar) {
    const optim::RangeTestConfig range = range_test_of(config);
    const optim::Plan test_plan = optim::range_test_plan(plan, range, config.range_stage, group);
    const ModelGuard guard(experiment.model());
    TrainStep step(config, experiment, test_plan, length, communicator, gpus);
    optim::RangeCurve curve(range);
    const auto votes = [&] { return std::vector<double>{stop.requested() ? 1.0 : 0.0}; };
    for (bool goes_on = true; goes_on;) {
        const auto update = static_cast<std::int64_t>(curve.rates().size());
        const std::string rate = fmt::format("{:.1e}", curve.next_rate());
        const dist::StepReport report = step.make(update, false, false, votes).report;
        // While fp16's scale is found, gradients overflow that say nothing of the rate.
        const bool too_large = report.loss_scale > 1 && std::isfinite(report.loss);
        goes_on = curve.add(report.loss, !report.skipped || too_large);
        bar.advance(update + 1, fmt::format("rate {}, loss {:.4f}", rate, report.loss));
        if (report.votes.front() > 0) return std::nullopt;
    }
    if (curve.rates().empty()) {
        throw dist::AgreedUserError(
            fmt::format("{}: the first loss or gradient, before any rate was tried, is not a number; look for values "
                        "that are not finite in the model ({}) and in the labels",
                        experiment.train->path().string(), experiment.model_source.string()));
    }
    return optim::RangeTest{group, curve, optim::range_suggestions(curve)};
}

}  // namespace strata::app
