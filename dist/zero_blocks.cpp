#include "dist/zero_blocks.h"

#include <algorithm>
#include <cstring>

namespace strata::dist {
namespace {

std::int64_t blocks_of(std::int64_t bytes, std::int64_t block_bytes) {
    return (bytes + block_bytes - 1) / block_bytes;
}

std::int64_t header_bytes(std::int64_t blocks) {
    return (blocks + 63) / 64 * 8;
}

/// A line at a time: most blocks that are not zero show it in the first.
bool all_zero(const std::byte* data, std::int64_t bytes) {
    constexpr std::int64_t line = 64;
    static constexpr std::byte zeros[line] = {};
    for (std::int64_t at = 0; at < bytes; at += line) {
        if (std::memcmp(data + at, zeros, static_cast<std::size_t>(std::min(line, bytes - at))) != 0) return false;
    }
    return true;
}

}  // namespace

std::int64_t most_packed_bytes(std::int64_t run_bytes, std::int64_t element_bytes) {
    return run_bytes / 2 + header_bytes(blocks_of(run_bytes, zero_block * element_bytes));
}

std::optional<std::int64_t> pack_without_zeros(std::span<const std::byte> run, std::int64_t element_bytes,
                                               std::byte* packed) {
    const std::int64_t block_bytes = zero_block * element_bytes, size = std::ssize(run);
    const std::int64_t blocks = blocks_of(size, block_bytes);
    std::int64_t room = size / 2;
    std::fill_n(packed, header_bytes(blocks), std::byte{0});
    std::byte* to = packed + header_bytes(blocks);
    for (std::int64_t block = 0; block < blocks; ++block) {
        const std::byte* const from = run.data() + block * block_bytes;
        const std::int64_t bytes = std::min(block_bytes, size - block * block_bytes);
        if (all_zero(from, bytes)) continue;
        room -= bytes;
        if (room < 0) return std::nullopt;
        packed[block / 8] |= std::byte{1} << (block % 8);
        to = std::copy_n(from, bytes, to);
    }
    return to - packed;
}

PackedBlocks::PackedBlocks(const std::byte* packed, std::int64_t elements, std::int64_t element_bytes)
    : bits_(packed),
      at_(packed + header_bytes(blocks_of(elements, zero_block))),
      block_bytes_(zero_block * element_bytes) {}

const std::byte* PackedBlocks::next() {
    const std::int64_t block = block_++;
    if ((bits_[block / 8] >> (block % 8) & std::byte{1}) == std::byte{0}) return nullptr;
    const std::byte* const found = at_;
    at_ += block_bytes_;
    return found;
}

}  // namespace strata::dist
