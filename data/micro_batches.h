// How a step's batch is cut into micro-batches, and who computes which of its samples. A pure function: every rank
// knows every rank's part.
//
// A batch is cut as Hugging Face cuts it: G = per_device · N · accumulation, and micro-batch j is the run of
// N · per_device samples from j · N · per_device. In a smaller last batch the last micro-batch that has samples is
// divided as evenly as can be, so no rank is idle in the step unless it has fewer samples than ranks.
//
// Ranks wait for the one with the most tokens, so a micro-batch is dealt by length: the longest sample first, each to
// the rank with the fewest tokens that has room for a sample (R. Graham, "Bounds on multiprocessing timing anomalies",
// 1969, with equal numbers of samples). Who computes a sample changes no result but by the order of sums. Where all
// lengths are equal a rank's part is a run, as Hugging Face's is.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace strata::data {

/// How a step is divided: per_device samples a rank and micro-batch.
struct BatchShape {
    std::int64_t per_device = 8;
    std::int64_t ranks = 1;
    std::int64_t accumulation = 1;
    std::int64_t global_size() const { return per_device * ranks * accumulation; }
};

/// Of some samples, their places in the step's batch, ascending.
using Positions = std::vector<std::int64_t>;

/// Of each micro-batch of a step, each rank's part.
using Dealt = std::vector<std::vector<Positions>>;

/// Micro-batch `micro` of a step whose batch has samples of these lengths (at most global_size()): each rank's
/// positions, none where there are none left. Over all micro-batches every position occurs exactly once.
std::vector<Positions> micro_batch(const BatchShape& shape, std::span<const std::int64_t> lengths, std::int64_t micro);

/// A cut that no number of ranks changes: micro-batch `micro` of a batch of `batch_size` samples is the run of `size`
/// samples from micro * size; the last ones may be shorter or empty.
Positions fixed_micro_batch(std::int64_t size, std::int64_t batch_size, std::int64_t micro);

/// Of a step's batch those at these positions.
std::vector<std::int64_t> samples_at(std::span<const std::int64_t> batch, const Positions& positions);

}  // namespace strata::data
