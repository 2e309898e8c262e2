// The weights in a checkpoint, one at a time: the masters of state.h5, and from the model's file what is in no group.
#pragma once

#include <torch/types.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "dist/checkpoint.h"
#include "models/safetensors.h"

namespace strata::app {

class CheckpointWeights {
  public:
    /// UserError where the folder is no checkpoint, SystemError where a file but the bulk of state.h5 is damaged: that
    /// is checked as it is read.
    explicit CheckpointWeights(const std::filesystem::path& folder);

    const std::filesystem::path& folder() const { return folder_; }
    const dist::StateFile& state() const { return state_; }

    /// Everything in model.safetensors, in its order, which is the model's. What has a master is fp32.
    const std::vector<models::TensorOutline>& tensors() const { return tensors_; }

    /// A copy that owns its memory. SystemError where it is damaged.
    torch::Tensor load(const std::string& name) const;

    /// Where a parameter lies in state.h5; nothing for a buffer, or for a tied weight's other names.
    struct Place {
        std::size_t group = 0;
        const dist::StateSegment* segment = nullptr;
    };
    const Place* find(const std::string& name) const;

    /// Every parameter of state.h5 by name, whether or not its master is there.
    const std::map<std::string, Place>& places() const { return places_; }

  private:
    std::filesystem::path folder_;
    dist::StateFile state_;
    models::SafetensorsFile model_;
    std::map<std::string, Place> places_;
    std::vector<models::TensorOutline> tensors_;
};

/// UserError, naming both folders and what differs, unless the two are of one model: parameters of equal names and
/// shapes, and equal labels.
void require_same_model(const CheckpointWeights& a, const CheckpointWeights& b);

}  // namespace strata::app
