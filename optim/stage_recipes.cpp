#include "core/error.h"
#include "optim/stage.h"

#include <cmath>

namespace strata::optim {

namespace {

ScheduleConfig one_cycle(double pct_start, std::optional<double> div) {
    ScheduleConfig schedule;
    schedule.options.kind = ScheduleKind::one_cycle;
    schedule.options.pct_start = pct_start;
    schedule.options.div = div;
    return schedule;
}

}  // namespace

std::vector<StageConfig> gradual_stages(const GradualConfig& config, std::size_t groups) {
    STRATA_CHECK(groups > 0, "no groups to unfreeze");
    std::vector<StageConfig> stages;
    for (std::size_t live = 1; live <= groups; ++live) {
        StageConfig stage;
        stage.name = fmt::format("gradual_{}", live);
        stage.freeze_to = static_cast<int>(groups - live);
        stage.on_unfreeze = config.on_unfreeze;
        if (live < groups) stage.length = config.each;
        stages.push_back(std::move(stage));
    }
    return stages;
}

std::vector<StageConfig> fine_tune_stages(const FineTuneConfig& config, double learning_rate) {
    if (!(config.freeze_epochs > 0.0 && std::isfinite(config.freeze_epochs))) {
        user_error("fine_tune: freeze_epochs is {}; it must be above 0.", config.freeze_epochs);
    }
    if (!(config.lr_mult >= 1.0 && std::isfinite(config.lr_mult))) {
        user_error(
            "fine_tune: lr_mult is {}; it must be 1 or more: how much slower the first group learns than the "
            "last.",
            config.lr_mult);
    }
    StageConfig frozen;
    frozen.name = "frozen";
    frozen.length = Length{config.freeze_epochs, Length::Unit::epochs};
    frozen.freeze_to = -1;
    frozen.slice = RateSlice{std::nullopt, learning_rate};
    frozen.schedule = one_cycle(0.99, std::nullopt);
    frozen.on_unfreeze = OnUnfreeze::reset_all;

    StageConfig unfrozen;
    unfrozen.name = "unfrozen";
    unfrozen.freeze_to = 0;
    const double half = learning_rate / 2.0;
    unfrozen.slice = RateSlice{half / config.lr_mult, half};
    unfrozen.schedule = one_cycle(config.pct_start, config.div);
    unfrozen.on_unfreeze = OnUnfreeze::reset_all;
    return {frozen, unfrozen};
}

}  // namespace strata::optim
