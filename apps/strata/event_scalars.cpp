#include "apps/strata/event_scalars.h"

namespace strata::app {

std::vector<Scalar> scalars_of(const StepRecord& record) {
    std::vector<Scalar> scalars = {
        {"train/loss", record.mean_loss},
        {"train/grad_norm", record.grad_norm},
        {"train/epoch", record.epoch},
        {"train/tokens_per_second", record.tokens_per_second},
        {"train/bytes_sent", static_cast<double>(record.bytes_sent)},
        {"train/optimizer_bytes", static_cast<double>(record.optimizer_bytes)},
        {"train/skipped_steps", static_cast<double>(record.skipped_steps)},
    };
    if (!record.learning_rates.empty()) scalars.push_back({"train/learning_rate", record.learning_rates.back().second});
    const auto add = [&](const std::string& section, const std::vector<std::pair<std::string, double>>& values) {
        for (const auto& [name, value] : values) scalars.push_back({section + name, value});
    };
    add("lr/", record.learning_rates);
    add("grad_norm/", record.group_grad_norms);
    add("weight_norm/", record.group_weight_norms);
    add("update_ratio/", record.group_update_ratios);
    add("seconds/", record.phase_seconds);
    return scalars;
}

std::vector<Scalar> scalars_of(const nlohmann::json& results) {
    const std::string eval = "eval_";
    std::vector<Scalar> scalars;
    for (const auto& [name, value] : results.items()) {
        if (!value.is_number() || name == "step" || name == "epoch") continue;
        const std::string tag = name.starts_with(eval) ? "eval/" + name.substr(eval.size()) : "train/" + name;
        scalars.push_back({tag, value.get<double>()});
    }
    return scalars;
}

}  // namespace strata::app
