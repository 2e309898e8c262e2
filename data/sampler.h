// Which samples a step trains on, and which of them a rank computes.
//
// Everything is a pure function of (seed, epoch, step), so training resumes at any step on any number of ranks. The
// order of an epoch is a Fisher-Yates shuffle driven by a splitmix64 stream keyed by (seed, epoch); step s of the epoch
// takes samples [s·G, (s+1)·G) of it, where G is the global batch; the last batch of an epoch may be smaller. Neither
// depends on ranks: N only decides who computes which part of a batch.
//
// A batch is cut as Hugging Face cuts it: G = per_device · N · accumulation; micro-batch j is the run of N · per_device
// samples from j · N · per_device, and rank r takes the r-th part of it. In a smaller last batch the last micro-batch
// that has samples is divided as evenly as can be, so no rank is idle in the step unless it has fewer samples than
// ranks.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

namespace strata::data {

/// A permutation of 0 … samples-1; file order without shuffling.
std::vector<std::int64_t> epoch_order(std::uint64_t seed, std::int64_t epoch, std::int64_t samples, bool shuffle);

/// ceil(samples / global_batch_size)
std::int64_t steps_per_epoch(std::int64_t samples, std::int64_t global_batch_size);

/// The samples of one step. O(samples); Sampler gives the same at once.
std::vector<std::int64_t> global_batch(std::uint64_t seed, std::int64_t epoch, std::int64_t step_in_epoch,
                                       std::int64_t samples, std::int64_t global_batch_size, bool shuffle);

/// How a step is divided: per_device samples a rank and micro-batch.
struct BatchShape {
    std::int64_t per_device = 8;
    std::int64_t ranks = 1;
    std::int64_t accumulation = 1;
    std::int64_t global_size() const { return per_device * ranks * accumulation; }
};

/// Positions [begin, end) in a step's global batch.
struct Positions {
    std::int64_t begin = 0;
    std::int64_t end = 0;
    std::int64_t size() const { return end - begin; }
    bool empty() const { return begin == end; }
    bool operator==(const Positions&) const = default;
};

/// The part of rank `rank` in micro-batch `micro` of a step whose batch has `batch_size` (at most global_size())
/// samples; empty if there is none. Over all ranks and micro-batches every position occurs exactly once.
Positions micro_batch(const BatchShape& shape, std::int64_t batch_size, std::int64_t rank, std::int64_t micro);

/// A cut that no number of ranks changes: micro-batch `micro` of a batch of `batch_size` samples is the run of `size`
/// samples from micro * size; the last ones may be shorter or empty.
Positions fixed_micro_batch(std::int64_t size, std::int64_t batch_size, std::int64_t micro);

/// Throws UserError when a rank would have no sample at all.
void require_samples_for_ranks(std::int64_t samples, std::int64_t ranks, const std::filesystem::path& path);

/// One data set's steps; remembers the order of the epoch last asked for.
class Sampler {
  public:
    /// global_batch_size >= 1. Throws UserError without samples.
    Sampler(std::uint64_t seed, std::int64_t samples, std::int64_t global_batch_size, bool shuffle);

    std::int64_t samples() const { return samples_; }
    std::int64_t steps_per_epoch() const;
    /// Valid until another epoch is asked for. step_in_epoch < steps_per_epoch().
    std::span<const std::int64_t> global_batch(std::int64_t epoch, std::int64_t step_in_epoch);

  private:
    std::uint64_t seed_;
    std::int64_t samples_;
    std::int64_t global_batch_size_;
    bool shuffle_;
    std::int64_t cached_epoch_ = -1;
    std::vector<std::int64_t> order_;
};

}  // namespace strata::data
