// A step's forward and backward passes as a GPU captures and replays them (--cuda_graph; docs/gpu.md): batches padded
// to one of a few shapes, the same for all ranks of a step, and all that differs from step to step in memory that stays
// where it is. On the CPU the same is done directly, which tests make use of.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "apps/strata/experiment.h"
#include "apps/strata/frozen_outputs.h"
#include "data/micro_batches.h"
#include "dist/group_storage.h"
#include "dist/zero_optimizer.h"
#include "models/fixed_tensors.h"
#include "models/token_buckets.h"

namespace strata::app {

/// Why a run with --cuda_graph true captures updates alone, and makes its passes directly; empty: it captures both.
std::string why_passes_are_direct(const models::Model& model);

/// Whether this run captures its passes. As captures_updates() (device.h).
bool captures_passes(const Config& config, const models::Model& model);

class CapturedPasses {
  public:
    /// Keeps references. `per_device`: the most samples of a rank in a micro-batch.
    CapturedPasses(const Experiment& experiment, std::int64_t per_device, dist::GroupStorage& storage,
                   dist::ZeroOptimizer& optimizer, CUstream_st* stream);

    /// This rank's passes over the step of these samples; from what is kept of them in `outputs`, if that is given.
    /// Returns its part of the loss, fp64 [1], which lies at one place for good: there once the passes have been made.
    const torch::Tensor& make(std::span<const std::int64_t> samples, const data::Dealt& dealt, std::int64_t rank,
                              const models::DropoutKey& dropout, const FrozenOutputs* outputs);

  private:
    using Padded = std::variant<models::PackedInput, models::FixedInput>;

    /// A rank's micro-batches, padded, and all tensors that its passes read.
    struct Inputs {
        std::vector<Padded> batches;
        std::vector<torch::Tensor> tensors;  ///< the step's key; of each micro-batch its input's, labels and weights
    };

    std::int64_t bucket(std::span<const std::int64_t> samples, const data::Dealt& dealt) const;
    Padded padded(std::span<const std::int64_t> samples, const data::Positions& positions, std::int64_t shape,
                  const FrozenOutputs* outputs) const;
    Inputs inputs_of(std::span<const std::int64_t> samples, const data::Dealt& dealt, std::int64_t rank,
                     std::int64_t shape, const models::DropoutKey& dropout, const FrozenOutputs* outputs) const;
    torch::Tensor logits(const models::PackedInput& input, const models::DropoutKey& key) const;
    torch::Tensor logits(const models::FixedInput& input, const models::DropoutKey& key) const;
    void run(const Inputs& like, const std::vector<torch::Tensor>& tensors, const models::DropoutKey& dropout);

    const Experiment& experiment_;
    std::int64_t per_device_;
    dist::GroupStorage& storage_;
    dist::ZeroOptimizer& optimizer_;
    CUstream_st* stream_;
    torch::Device device_;
    models::TokenBuckets buckets_;
    torch::Tensor loss_;
    std::map<std::int64_t, std::unique_ptr<models::FixedTensors>> fixed_;  // of each shape
};

}  // namespace strata::app
