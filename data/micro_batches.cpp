#include "data/micro_batches.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <queue>
#include <tuple>
#include <utility>

#include "core/error.h"

namespace strata::data {
namespace {

Positions run(std::int64_t begin, std::int64_t end) {
    Positions positions(static_cast<std::size_t>(end - begin));
    std::iota(positions.begin(), positions.end(), begin);
    return positions;
}

/// Part `index` of `parts` as equal ones as `size` allows ends here.
std::int64_t end_of_part(std::int64_t size, std::int64_t index, std::int64_t parts) {
    return size * (index + 1) / parts;
}

/// The positions from `begin` on, of samples of these lengths.
std::vector<Positions> dealt_by_length(std::int64_t begin, std::span<const std::int64_t> lengths, std::int64_t ranks) {
    const std::int64_t size = std::ssize(lengths);
    const auto length_at = [&](std::int64_t position) { return lengths[static_cast<std::size_t>(position - begin)]; };
    Positions order = run(begin, begin + size);
    std::stable_sort(order.begin(), order.end(),
                     [&](std::int64_t a, std::int64_t b) { return length_at(a) > length_at(b); });
    using Hand = std::tuple<std::int64_t, std::int64_t, std::int64_t>;  // tokens, rank, room
    std::priority_queue<Hand, std::vector<Hand>, std::greater<>> hands;
    for (std::int64_t rank = 0; rank < ranks; ++rank) {
        const std::int64_t room = end_of_part(size, rank, ranks) - end_of_part(size, rank - 1, ranks);
        if (room > 0) hands.emplace(0, rank, room);
    }
    std::vector<Positions> parts(static_cast<std::size_t>(ranks));
    for (const std::int64_t position : order) {
        const auto [tokens, rank, room] = hands.top();
        hands.pop();
        parts[static_cast<std::size_t>(rank)].push_back(position);
        if (room > 1) hands.emplace(tokens + length_at(position), rank, room - 1);
    }
    for (Positions& part : parts) std::sort(part.begin(), part.end());
    return parts;
}

std::vector<Positions> runs(std::int64_t begin, std::int64_t size, std::int64_t ranks) {
    std::vector<Positions> parts;
    for (std::int64_t rank = 0; rank < ranks; ++rank) {
        parts.push_back(run(begin + end_of_part(size, rank - 1, ranks), begin + end_of_part(size, rank, ranks)));
    }
    return parts;
}

}  // namespace

std::vector<Positions> micro_batch(const BatchShape& shape, std::span<const std::int64_t> lengths, std::int64_t micro) {
    const std::int64_t batch_size = std::ssize(lengths);
    STRATA_CHECK(batch_size <= shape.global_size(), "batch of {}, at most {}", batch_size, shape.global_size());
    STRATA_CHECK(micro >= 0 && micro < shape.accumulation, "micro-batch {} of {}", micro, shape.accumulation);
    const std::int64_t full = shape.per_device * shape.ranks;
    const std::int64_t begin = std::min(micro * full, batch_size);
    const std::int64_t size = std::min(full, batch_size - begin);
    const auto own = lengths.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(size));
    const bool alike = std::adjacent_find(own.begin(), own.end(), std::not_equal_to<>()) == own.end();
    return alike ? runs(begin, size, shape.ranks) : dealt_by_length(begin, own, shape.ranks);
}

Positions fixed_micro_batch(std::int64_t size, std::int64_t batch_size, std::int64_t micro) {
    STRATA_CHECK(size > 0 && micro >= 0, "micro-batch {} of {} samples", micro, size);
    return run(std::min(micro * size, batch_size), std::min((micro + 1) * size, batch_size));
}

std::vector<std::int64_t> samples_at(std::span<const std::int64_t> batch, const Positions& positions) {
    std::vector<std::int64_t> samples;
    samples.reserve(positions.size());
    for (const std::int64_t position : positions) samples.push_back(batch[static_cast<std::size_t>(position)]);
    return samples;
}

}  // namespace strata::data
