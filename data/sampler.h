// Which samples a step trains on. Which of them a rank computes says data/micro_batches.h.
//
// Everything is a pure function of (seed, epoch, step), so training resumes at any step on any number of ranks. The
// order of an epoch is a Fisher-Yates shuffle driven by a splitmix64 stream keyed by (seed, epoch); step s of the epoch
// takes samples [s·G, (s+1)·G) of it, where G is the global batch; the last batch of an epoch may be smaller. Neither
// depends on ranks.
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
