#include "apps/strata/model_costs.h"

#include <string>
#include <unordered_map>

#include "apps/strata/experiment.h"
#include "models/activations.h"
#include "models/bert_config.h"

namespace strata::app {
namespace {

/// What FrozenOutputs keeps while embeddings and encoder are frozen.
std::int64_t kept_bytes(const Config& config, const models::BertConfig& model, bool backbone_trains,
                        std::optional<std::int64_t> samples) {
    if (backbone_trains || config.frozen_dropout || config.cache_frozen == "false") return 0;
    return samples.value_or(0) * model.hidden_size * static_cast<std::int64_t>(sizeof(float));
}

}  // namespace

std::optional<optim::ModelCosts> model_costs(const Config& config, const optim::Plan& plan,
                                             std::optional<std::int64_t> samples) {
    if (config.model_name_or_path.empty()) return std::nullopt;
    const models::BertConfig model = models::read_bert_config(config.model_name_or_path);
    std::unordered_map<std::string, std::size_t> group_of;
    for (std::size_t g = 0; g < plan.groups.size(); ++g) {
        for (const optim::Segment& segment : plan.groups[g].segments) group_of[segment.name] = g;
    }
    optim::ModelCosts costs{
        config.per_device_train_batch_size, sequence_limit(config, model), models::process_bytes, {}};
    for (const optim::Stage& stage : plan.stages) {
        bool backbone_trains = false;
        const auto trains = [&](const std::string& name) {
            return static_cast<bool>(stage.trainable[group_of.at(name)]);
        };
        for (const auto& [name, group] : group_of) {
            const bool above = name.starts_with("bert.pooler.") || name.starts_with("classifier.");
            backbone_trains = backbone_trains || (!above && stage.trainable[group]);
        }
        const models::BatchSize batch{costs.sequences, costs.length};
        const models::StepMemory memory{optim::bytes_of(plan.compute), plan.zero_stage == 1,
                                        config.gradient_checkpointing};
        costs.stages.push_back({models::activation_bytes(model, batch, trains, memory),
                                kept_bytes(config, model, backbone_trains, samples)});
    }
    return costs;
}

}  // namespace strata::app
