// How much memory a training step of a BERT keeps for its backward pass: an estimate, from the configuration alone.
//
// It counts what autograd saves, operation by operation, for the graph that bert.cpp builds (activations.cpp says
// what), and the largest of the tensors that come and go beside it. A matrix product saves its input only where its
// weight trains; what no gradient passes through saves nothing.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "models/bert_config.h"

namespace strata::models {

/// The largest micro-batch: sequences, all of them `length` tokens long.
struct BatchSize {
    std::int64_t sequences = 0;
    std::int64_t length = 0;
};

/// How the step deals with memory.
struct StepMemory {
    std::int64_t element_bytes = sizeof(float);  ///< of the type that the network computes in
    bool gradients_in_place = true;  ///< they lie in memory already, as under ZeRO stage 1 (models/packed_linear.h)
    /// Layers keep their inputs alone (models/recomputed.h). What they keep of attention on a GPU is not counted.
    bool recomputes = false;
};

/// Whether the parameter of this name trains.
using Trains = std::function<bool(const std::string&)>;

/// Whether bert.cpp computes the layer for the sequences' first tokens: the last one, unless all below the pooler is
/// fixed.
bool first_tokens_only(const BertConfig& config, const Trains& trains, std::int64_t layer);

/// Bytes at the peak of forward and backward over one micro-batch, beyond parameters and gradients.
std::int64_t activation_bytes(const BertConfig& config, const BatchSize& batch, const Trains& trains,
                              const StepMemory& memory);

/// What a training process has resident on a CPU beside tensors: LibTorch's and MPI's pages and buffers, kernels'
/// generated code. Measured: 160 to 195 MiB (Debian 12, LibTorch 2.11, Open MPI 4.1, one and two ranks). The data's
/// tokens come on top.
inline constexpr std::int64_t process_bytes = std::int64_t{200} << 20;

}  // namespace strata::models
