#include "apps/strata/train_progress.h"

#include "core/error.h"

namespace strata::app {

nlohmann::json to_json(const TrainProgress& progress) {
    nlohmann::json json = {
        {"step", progress.step},
        {"global_batch_size", progress.global_batch_size},
        {"micro_batches", progress.micro_batches},
        {"threads", progress.threads},
        {"loss_sum", progress.loss_sum},
        {"samples", progress.samples},
        {"tokens", progress.tokens},
        {"skipped_steps", progress.skipped_steps},
        {"unlogged_steps", progress.unlogged_steps},
        {"unlogged_loss_sum", progress.unlogged_loss_sum},
        {"best_metric", progress.best_metric ? nlohmann::json(*progress.best_metric) : nlohmann::json(nullptr)},
        {"best_model_checkpoint", progress.best_model_checkpoint},
        {"log_history", progress.log_history}};
    if (progress.loss_scale) {
        json["loss_scale"] = progress.loss_scale->scale;
        json["good_steps"] = progress.loss_scale->good_steps;
    }
    return json;
}

TrainProgress progress_from_json(const std::string& text, const std::string& where) {
    try {
        const auto json = nlohmann::json::parse(text);
        TrainProgress progress{json.at("step"),
                               json.at("global_batch_size"),
                               json.value("micro_batches", std::int64_t{0}),  // older ones say neither
                               json.value("threads", std::int64_t{0}),
                               json.at("loss_sum"),
                               json.at("samples"),
                               json.at("tokens"),
                               json.at("skipped_steps"),
                               json.at("unlogged_steps"),
                               json.at("unlogged_loss_sum"),
                               std::nullopt,
                               json.value("best_model_checkpoint", ""),  // older ones know of no best
                               json.at("log_history"),
                               std::nullopt};
        if (json.contains("loss_scale")) {
            progress.loss_scale =
                optim::LossScale{json["loss_scale"].get<float>(), json.at("good_steps").get<std::int64_t>()};
        }
        if (json.contains("best_metric") && !json["best_metric"].is_null()) progress.best_metric = json["best_metric"];
        return progress;
    } catch (const nlohmann::json::exception& error) {
        user_error("{}: /train is not a training state that strata wrote: {}", where, error.what());
    }
}

}  // namespace strata::app
