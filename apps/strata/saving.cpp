#include "apps/strata/saving.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <functional>

#include "apps/strata/carried_state.h"
#include "apps/strata/config_changes.h"
#include "apps/strata/options.h"
#include "apps/strata/provenance.h"
#include "core/error.h"
#include "dist/agreement.h"
#include "dist/checksums.h"
#include "dist/state_load.h"
#include "dist/state_map.h"
#include "dist/state_snapshot.h"
#include "models/safetensors.h"

namespace strata::app {
namespace {

dist::StateGroup state_group(const optim::Plan& plan, std::size_t index, dist::GroupStorage& storage,
                             std::int64_t step) {
    const optim::Group& group = plan.groups[index];
    const std::int64_t last_step = std::max<std::int64_t>(0, step - 1);
    const optim::OptimizerConfig optimizer = plan.optimizer_of(index);
    dist::StateGroup state;
    state.name = group.name;
    state.multiplier = group.multiplier;
    state.learning_rate = plan.learning_rate(index, last_step);
    state.weight_decay = optimizer.weight_decay;
    state.beta1 = optimizer.beta1;
    state.beta2 = optimizer.beta2;
    state.epsilon = optimizer.epsilon;
    state.step = storage.group_steps()[index];
    state.frozen = !plan.trainable(index, last_step);
    state.elements = group.elements;
    for (const auto& segment : group.segments) {
        state.members.push_back({segment.name, segment.shape, segment.offset, segment.elements, segment.decays});
    }
    const optim::Slice slice = storage.slice(index);
    const optim::SliceBuffers buffers = storage.buffers(index);
    state.begin = slice.begin;
    state.end = slice.end;
    state.master = buffers.param;
    if (buffers.param == nullptr) state.bf16_weights = buffers.rounded;
    state.exp_avg = buffers.exp_avg;
    state.exp_avg_sq = buffers.exp_avg_sq;
    return state;
}

std::vector<dist::StateGroup> state_groups(const optim::Plan& plan, dist::GroupStorage& storage, std::int64_t step) {
    std::vector<dist::StateGroup> groups;
    for (std::size_t index = 0; index < plan.groups.size(); ++index) {
        groups.push_back(state_group(plan, index, storage, step));
    }
    return groups;
}

/// Ranks of different copies hold the same slice; each writes its share of it.
void keep_share(dist::StateGroup& group, int copy, int copies) {
    const std::int64_t size = group.end - group.begin;
    const std::int64_t first = size * copy / copies;
    group.end = group.begin + size * (copy + 1) / copies;
    group.begin += first;
    for (float** data : {&group.master, &group.exp_avg, &group.exp_avg_sq}) {
        if (*data != nullptr) *data += first;
    }
    if (group.bf16_weights != nullptr) group.bf16_weights += first;
}

/// Where one of the model's parameters, by whatever name, lies among the groups' masters.
struct ParameterPlace {
    std::string name;
    std::vector<std::int64_t> shape;
    std::size_t group = 0;
    std::int64_t offset = 0;  // elements
};

std::vector<ParameterPlace> parameter_places(const models::Model& model, dist::GroupStorage& storage) {
    std::vector<ParameterPlace> places;
    for (const auto& [name, tensor] : model.named_parameter_list()) {
        const dist::GroupStorage::ParameterPlace place = storage.place_of(tensor);
        places.push_back({name, tensor.sizes().vec(), place.group, place.offset});
    }
    return places;
}

/// The parameters as the state file has them; they hold while the map does.
models::NamedTensors mapped_parameters(const dist::StateMap& state, const std::vector<ParameterPlace>& places) {
    models::NamedTensors tensors;
    for (const ParameterPlace& place : places) {
        const std::byte* masters = state.data(place.group, dist::StateKind::master);
        STRATA_CHECK(masters != nullptr, "the group of {} has no weights", place.name);
        const std::byte* first = masters + place.offset * static_cast<std::int64_t>(sizeof(float));
        torch::Tensor values;
        if (reinterpret_cast<std::uintptr_t>(first) % alignof(float) == 0) {
            values = torch::from_blob(const_cast<std::byte*>(first), place.shape, torch::kFloat32);  // only read
        } else {
            values = torch::empty(place.shape, torch::kFloat32);
            std::memcpy(values.mutable_data_ptr(), first, values.nbytes());
        }
        tensors.emplace_back(place.name, values);
    }
    return tensors;
}

/// Names and shapes of the parameters and the labels of the head, hashed: another model has another one.
std::string model_fingerprint(const Experiment& experiment) {
    std::string text = experiment.regression() ? "regression\n" : "classification\n";
    for (const auto& label : experiment.labels.names) text += label + "\n";
    for (const auto& parameter : experiment.manifest())
        text += parameter.name + " " + optim::shape_text(parameter.shape) + "\n";
    return dist::hash_text(dist::hash_bytes(text.data(), text.size()));
}

/// As transformers writes it, so that tools that read its folders find what they look for.
std::string trainer_state_json(const Config& config, const optim::Plan& plan, const TrainProgress& progress,
                               double epoch) {
    // Where the stages set the run's length, no number of epochs was given.
    const double epochs = config.num_train_epochs > 0 || progress.step == 0
                              ? config.num_train_epochs
                              : epoch * static_cast<double>(plan.total_steps) / static_cast<double>(progress.step);
    const nlohmann::json state = {
        {"best_metric", progress.best_metric ? nlohmann::json(*progress.best_metric) : nlohmann::json(nullptr)},
        {"best_model_checkpoint", progress.best_model_checkpoint.empty()
                                      ? nlohmann::json(nullptr)
                                      : nlohmann::json(progress.best_model_checkpoint)},
        {"epoch", epoch},
        {"eval_steps", config.eval_steps.value_or(config.logging_steps)},
        {"global_step", progress.step},
        {"is_local_process_zero", true},
        {"is_world_process_zero", true},
        {"log_history", progress.log_history},
        {"logging_steps", config.logging_steps},
        {"max_steps", plan.total_steps},
        {"num_train_epochs", epochs},
        {"save_steps", config.save_steps},
        {"train_batch_size", config.per_device_train_batch_size},
    };
    return state.dump(2) + "\n";
}

/// About what the model folder takes.
std::uint64_t model_bytes(const Experiment& experiment) {
    std::uint64_t bytes = experiment.model().folder_bytes();
    for (const char* name : {"vocab.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"}) {
        std::error_code absent;
        const auto size = std::filesystem::file_size(experiment.tokenizer_folder / name, absent);
        if (!absent) bytes += size;
    }
    return bytes;
}

void require_same_model(const dist::StateFile& file, const std::filesystem::path& checkpoint,
                        const Experiment& experiment) {
    if (file.header().model_fingerprint == model_fingerprint(experiment)) return;
    user_error(
        "{}: is a checkpoint of another model or of other labels than {}; name the model and data it was trained with",
        checkpoint.string(), experiment.model_source.string());
}

/// The model's file, once its checksum is known to be right.
models::SafetensorsFile checked_model_file(const std::filesystem::path& checkpoint) {
    const auto faults = dist::verify_files(checkpoint);
    if (!faults.empty()) system_error("{}", faults.front());
    return models::SafetensorsFile(checkpoint / "model.safetensors");
}

/// Buffers are part of no group, so they lie with the model.
void restore_buffers(const std::filesystem::path& checkpoint, const models::NamedTensors& buffers) {
    if (!buffers.empty()) models::read_tensors(checked_model_file(checkpoint), buffers);
}

}  // namespace

dist::CheckpointContent checkpoint_content(const Config& config, const Experiment& experiment, const optim::Plan& plan,
                                           dist::GroupStorage& storage, const TrainProgress& progress, double epoch,
                                           const dist::ShardRanks& ranks) {
    dist::CheckpointContent content;
    content.header.step = progress.step;
    content.header.epoch = epoch;
    content.header.world_size = ranks.world().size();
    content.header.stage = plan.stage_at(std::max<std::int64_t>(0, progress.step - 1)).name;
    content.header.plan_hash = plan.hash();
    content.header.update_hash = plan.update_hash();
    content.header.effective_config = to_toml(config, command_train, true);
    content.header.provenance = provenance(ranks.world());
    content.header.train = to_json(progress).dump();
    content.header.model_fingerprint = model_fingerprint(experiment);
    content.groups = state_groups(plan, storage, progress.step);
    for (dist::StateGroup& group : content.groups) keep_share(group, ranks.copy(), ranks.copy_count());
    // The weights come from the state file: a background save would need a copy of the model else.
    if (ranks.world().rank() == 0) {
        content.write_files = [writer = experiment.model().folder_writer(experiment.tokenizer_folder),
                               places = parameter_places(experiment.model(), storage)](const auto& folder) {
            writer(folder, mapped_parameters(dist::StateMap(folder / dist::state_name), places));
        };
    }
    content.file_bytes = model_bytes(experiment);
    content.trainer_state = trainer_state_json(config, plan, progress, epoch);
    return content;
}

void load_weights(const std::filesystem::path& checkpoint, const models::Model& model, dist::GroupStorage& storage) {
    const models::SafetensorsFile file = checked_model_file(checkpoint);
    models::NamedTensors values;
    for (const auto& [name, tensor] : model.named_parameter_list()) {
        values.emplace_back(name, torch::empty(tensor.sizes(), torch::kFloat32));
    }
    models::read_tensors(file, values);
    storage.set_values(values);
    models::read_tensors(file, model.named_buffer_list());
}

TrainProgress restore(const std::filesystem::path& checkpoint, const Config& config, const Experiment& experiment,
                      const optim::Plan& plan, dist::GroupStorage& storage, dist::MpiCommunicator& communicator) {
    const std::string what = "reading " + checkpoint.string();
    const dist::StateFile file =
        dist::collectively(communicator, what, [&] { return dist::open_checkpoint_state(checkpoint); });
    TrainProgress progress = dist::collectively(communicator, what, [&] {
        require_same_model(file, checkpoint, experiment);
        return progress_from_json(file.header().train, checkpoint.string());
    });
    // Loaded as the checkpoint was saved, after the last update; entering the next step does what a border does.
    storage.enter(std::clamp<std::int64_t>(progress.step - 1, 0, plan.total_steps - 1));
    std::vector<dist::StateGroup> groups = state_groups(plan, storage, progress.step);
    dist::StateSnapshot staging(storage.memory_kind());
    staging.stage(groups);
    const dist::StateLoadReport report =
        dist::load_group_slices(communicator, file, groups,
                                foreign_moments(saved_optimizer(file.header().effective_config), plan.optimizer.kind));
    staging.give_back();
    dist::collectively(communicator, what,
                       [&] { restore_buffers(checkpoint, experiment.model().named_buffer_list()); });
    for (std::size_t index = 0; index < groups.size(); ++index) storage.group_steps()[index] = groups[index].step;
    if (communicator.rank() == 0) {
        const std::string changes = config_changes(file.header().effective_config, config);
        std::fputs(carried_text(changes, file.groups(), groups, report).c_str(), stdout);
    }
    return progress;
}

}  // namespace strata::app
