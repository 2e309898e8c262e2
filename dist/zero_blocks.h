// A run of elements without the blocks of it that are all zero: what ranks of one host send one another of gradients.
// A word embedding's are mostly rows that no batch has named, and last to be ready, so nothing hides their way.
//
// Packed: a bit for each block, in whole words of 64, set where the block follows; then those blocks one after another,
// the last of the run perhaps shorter. Elements may be of any type whose zero is all bits zero; its negative zero
// counts as something.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace strata::dist {

inline constexpr std::int64_t zero_block = 2048;  // elements

/// The packed run, where that is at most half as long; else nothing, after a look at as much as tells. `packed` has
/// most_packed_bytes().
std::optional<std::int64_t> pack_without_zeros(std::span<const std::byte> run, std::int64_t element_bytes,
                                               std::byte* packed);
std::int64_t most_packed_bytes(std::int64_t run_bytes, std::int64_t element_bytes);

/// Goes over a packed run from its start.
class PackedBlocks {
  public:
    PackedBlocks() = default;
    PackedBlocks(const std::byte* packed, std::int64_t elements, std::int64_t element_bytes);

    /// The next block, or null where it is all zero.
    const std::byte* next();

  private:
    const std::byte* bits_ = nullptr;
    const std::byte* at_ = nullptr;  // the next block that is there
    std::int64_t block_ = 0;
    std::int64_t block_bytes_ = 0;
};

}  // namespace strata::dist
