#include "apps/strata/checkpoint_weights.h"

#include <torch/types.h>

#include <algorithm>
#include <map>

#include "core/error.h"
#include "dist/checksums.h"

namespace strata::app {
namespace fs = std::filesystem;
namespace {

/// The folder, once it is known that what it holds besides the bulk of state.h5 can be believed.
fs::path checked(const fs::path& folder) {
    if (!fs::equivalent(dist::checkpoints_at(folder).front(), folder)) {
        user_error("{}: is a run directory; name one of its checkpoints", folder.string());
    }
    const std::vector<std::string> faults = dist::verify_files(folder);
    if (!faults.empty()) throw SystemError(faults.front());
    return folder;
}

std::map<std::string, std::vector<std::int64_t>> shapes_of(const CheckpointWeights& weights) {
    std::map<std::string, std::vector<std::int64_t>> shapes;
    for (const auto& tensor : weights.tensors()) shapes[tensor.name] = tensor.shape;
    return shapes;
}

}  // namespace

CheckpointWeights::CheckpointWeights(const fs::path& folder)
    : folder_(checked(folder)), state_(folder / dist::state_name), model_(folder / "model.safetensors") {
    for (std::size_t group = 0; group < state_.groups().size(); ++group) {
        for (const auto& segment : state_.groups()[group].group.members) places_[segment.name] = {group, &segment};
    }
    std::vector<std::string> names;
    for (const auto& [name, info] : model_.tensors()) names.push_back(name);
    const auto begin_of = [&](const std::string& name) { return model_.tensors().at(name).begin; };
    std::stable_sort(names.begin(), names.end(),
                     [&](const std::string& a, const std::string& b) { return begin_of(a) < begin_of(b); });
    for (const std::string& name : names) {
        const models::TensorInfo& info = model_.tensors().at(name);
        const Place* place = find(name);
        if (place != nullptr && place->segment->shape != info.shape) {
            system_error("{}: tensor '{}' has another shape than in {}", model_.path().string(), name,
                         state_.path().string());
        }
        tensors_.push_back({name, place != nullptr ? torch::kFloat32 : info.dtype, info.shape});
    }
}

const CheckpointWeights::Place* CheckpointWeights::find(const std::string& name) const {
    const auto found = places_.find(name);
    if (found == places_.end()) return nullptr;
    const auto& present = state_.groups()[found->second.group].present;
    return present[static_cast<std::size_t>(dist::StateKind::master)] ? &found->second : nullptr;
}

torch::Tensor CheckpointWeights::load(const std::string& name) const {
    const Place* place = find(name);
    if (place == nullptr) return model_.load(name);
    torch::Tensor tensor = torch::empty(place->segment->shape, torch::kFloat32);
    const std::int64_t begin = place->segment->offset;
    state_.read(place->group, dist::StateKind::master,
                {{begin, begin + place->segment->elements, tensor.data_ptr<float>()}});
    return tensor;
}

void require_same_model(const CheckpointWeights& a, const CheckpointWeights& b) {
    const std::string both = fmt::format("{} and {} are of different models", a.folder().string(), b.folder().string());
    const auto shapes_a = shapes_of(a);
    const auto shapes_b = shapes_of(b);
    for (const auto& [name, shape] : shapes_a) {
        const auto found = shapes_b.find(name);
        if (found == shapes_b.end()) user_error("{}: the second has no {}", both, name);
        if (found->second != shape) {
            user_error("{}: {} has shape {} in the first and {} in the second", both, name, dist::shape_text(shape),
                       dist::shape_text(found->second));
        }
    }
    for (const auto& [name, shape] : shapes_b) {
        if (!shapes_a.contains(name)) user_error("{}: the first has no {}", both, name);
    }
    if (a.state().header().model_fingerprint != b.state().header().model_fingerprint) {
        user_error("{}: their heads have other labels, or the same in another order", both);
    }
}

}  // namespace strata::app
