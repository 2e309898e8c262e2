#include "data/sampler.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "core/error.h"

namespace strata::data {
namespace {

// Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (2014). Written out because the standard
// library's distributions differ between implementations, and the order of an epoch must not.
std::uint64_t mixed(std::uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

class SplitMix64 {
  public:
    SplitMix64(std::uint64_t seed, std::uint64_t epoch) : state_(mixed(mixed(seed + step) + epoch)) {}

    /// Uniform over 0 … bound-1, without bias: values from the incomplete last run are drawn again.
    std::uint64_t below(std::uint64_t bound) {
        constexpr std::uint64_t top = std::numeric_limits<std::uint64_t>::max();
        const std::uint64_t limit = top - top % bound;
        std::uint64_t value = next();
        while (value >= limit) value = next();
        return value % bound;
    }

  private:
    static constexpr std::uint64_t step = 0x9e3779b97f4a7c15ULL;
    std::uint64_t next() { return mixed(state_ += step); }

    std::uint64_t state_;
};

/// Places [begin, end) in an epoch's order.
struct Range {
    std::int64_t begin, end;
};

Range batch_range(std::int64_t samples, std::int64_t global_batch_size, std::int64_t step_in_epoch) {
    STRATA_CHECK(step_in_epoch >= 0 && step_in_epoch < steps_per_epoch(samples, global_batch_size),
                 "step {} of an epoch of {}", step_in_epoch, steps_per_epoch(samples, global_batch_size));
    const std::int64_t begin = step_in_epoch * global_batch_size;
    return {begin, std::min(begin + global_batch_size, samples)};
}

}  // namespace

std::vector<std::int64_t> epoch_order(std::uint64_t seed, std::int64_t epoch, std::int64_t samples, bool shuffle) {
    std::vector<std::int64_t> order(static_cast<std::size_t>(samples));
    std::iota(order.begin(), order.end(), std::int64_t{0});
    if (!shuffle) return order;
    SplitMix64 random(seed, static_cast<std::uint64_t>(epoch));
    for (std::size_t left = order.size(); left > 1; --left) {
        std::swap(order[left - 1], order[random.below(left)]);
    }
    return order;
}

std::int64_t steps_per_epoch(std::int64_t samples, std::int64_t global_batch_size) {
    STRATA_CHECK(global_batch_size > 0, "global batch of {}", global_batch_size);
    return samples / global_batch_size + (samples % global_batch_size != 0 ? 1 : 0);
}

std::vector<std::int64_t> global_batch(std::uint64_t seed, std::int64_t epoch, std::int64_t step_in_epoch,
                                       std::int64_t samples, std::int64_t global_batch_size, bool shuffle) {
    const Range range = batch_range(samples, global_batch_size, step_in_epoch);
    const auto order = epoch_order(seed, epoch, samples, shuffle);
    return {order.begin() + range.begin, order.begin() + range.end};
}

void require_samples_for_ranks(std::int64_t samples, std::int64_t ranks, const std::filesystem::path& path) {
    if (samples >= ranks) return;
    user_error(
        "{}: {} sample{} for {} ranks, and every rank needs at least one; start at most {} (mpirun -np {}) or give "
        "more data",
        path.string(), samples, samples == 1 ? "" : "s", ranks, samples, samples);
}

Sampler::Sampler(std::uint64_t seed, std::int64_t samples, std::int64_t global_batch_size, bool shuffle)
    : seed_(seed), samples_(samples), global_batch_size_(global_batch_size), shuffle_(shuffle) {
    STRATA_CHECK(global_batch_size >= 1, "global batch of {}", global_batch_size);
    if (samples < 1) user_error("there are no samples to train on");
}

std::int64_t Sampler::steps_per_epoch() const {
    return data::steps_per_epoch(samples_, global_batch_size_);
}

std::span<const std::int64_t> Sampler::global_batch(std::int64_t epoch, std::int64_t step_in_epoch) {
    const Range range = batch_range(samples_, global_batch_size_, step_in_epoch);
    if (epoch != cached_epoch_) {
        order_ = epoch_order(seed_, epoch, samples_, shuffle_);
        cached_epoch_ = epoch;
    }
    return std::span<const std::int64_t>(order_).subspan(static_cast<std::size_t>(range.begin),
                                                         static_cast<std::size_t>(range.end - range.begin));
}

}  // namespace strata::data
