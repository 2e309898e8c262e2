#include "dist/zero_blocks.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

namespace strata::dist {
namespace {

constexpr std::byte guard{0xA5};

/// A run, packed between guards, that nobody may write beyond.
struct Packed {
    explicit Packed(const std::vector<std::byte>& run, std::int64_t element_bytes)
        : most(most_packed_bytes(std::ssize(run), element_bytes)), memory(static_cast<std::size_t>(most) + 16, guard) {
        bytes = pack_without_zeros(run, element_bytes, memory.data());
        for (std::size_t i = memory.size() - 16; i < memory.size(); ++i) EXPECT_EQ(memory[i], guard);
        EXPECT_LE(bytes.value_or(0), most);
    }
    std::int64_t most;
    std::vector<std::byte> memory;
    std::optional<std::int64_t> bytes;
};

std::vector<std::byte> unpacked(const Packed& packed, std::int64_t elements, std::int64_t element_bytes) {
    std::vector<std::byte> run(static_cast<std::size_t>(elements * element_bytes), std::byte{0});
    PackedBlocks blocks(packed.memory.data(), elements, element_bytes);
    for (std::int64_t begin = 0; begin < elements; begin += zero_block) {
        const std::int64_t size = std::min(zero_block, elements - begin);
        const std::byte* const block = blocks.next();
        if (block == nullptr) continue;
        std::memcpy(run.data() + begin * element_bytes, block, static_cast<std::size_t>(size * element_bytes));
    }
    return run;
}

TEST(ZeroBlocks, WhatIsLeftOutComesBackAsZeros) {
    for (const std::int64_t element_bytes : {2, 4, 8}) {
        for (const std::int64_t elements : {std::int64_t{1}, zero_block - 1, zero_block, 70 * zero_block + 5}) {
            const std::int64_t blocks = (elements + zero_block - 1) / zero_block;
            for (const std::int64_t every : {3, 1000}) {
                std::vector<std::byte> run(static_cast<std::size_t>(elements * element_bytes), std::byte{0});
                for (std::int64_t block = blocks - 1; block >= 0; block -= every) {  // the short last one among them
                    const std::int64_t last = std::min((block + 1) * zero_block, elements) - 1;
                    run[static_cast<std::size_t>(last * element_bytes)] = std::byte{1};
                }
                const Packed packed(run, element_bytes);
                if (blocks == 1) {
                    EXPECT_FALSE(packed.bytes) << "all of it is there";
                    continue;
                }
                ASSERT_TRUE(packed.bytes);
                EXPECT_LT(*packed.bytes, std::ssize(run) / 2 + 16);
                EXPECT_EQ(unpacked(packed, elements, element_bytes), run) << elements << " of " << element_bytes;
            }
        }
    }
}

TEST(ZeroBlocks, AllZerosAreTheBitsAlone) {
    const std::vector<std::byte> run(static_cast<std::size_t>(65 * zero_block * 2), std::byte{0});
    const Packed packed(run, 2);
    EXPECT_EQ(packed.bytes, 16);
    EXPECT_EQ(unpacked(packed, 65 * zero_block, 2), run);
}

TEST(ZeroBlocks, MoreThanHalfIsNotPacked) {
    std::vector<std::byte> run(static_cast<std::size_t>(4 * zero_block * 4), std::byte{0});
    for (const std::size_t block : {0u, 2u}) run[block * zero_block * 4 + 3] = std::byte{0x80};  // -0: something
    EXPECT_TRUE(Packed(run, 4).bytes);
    run[3 * zero_block * 4] = std::byte{1};
    EXPECT_FALSE(Packed(run, 4).bytes);
}

}  // namespace
}  // namespace strata::dist
