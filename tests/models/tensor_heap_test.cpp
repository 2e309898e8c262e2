#include "models/tensor_heap.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

namespace strata::models {
namespace {

constexpr std::size_t megabyte = 1 << 20;

bool is_aligned(const void* block) {
    return reinterpret_cast<std::uintptr_t>(block) % 64 == 0;
}

TEST(TensorHeap, TheNextOfASizeGetsTheMemoryOfTheLast) {
    TensorHeap heap(64 * megabyte);
    void* const kept = heap.allocate(3 * megabyte);
    void* const dropped = heap.allocate(1000);
    void* const after = heap.allocate(megabyte);
    heap.release(dropped, 1000);
    EXPECT_EQ(heap.allocate(1000), dropped);
    heap.release(after, megabyte);
    heap.release(kept, 3 * megabyte);
}

TEST(TensorHeap, ASteadyStepReachesNoFurther) {
    TensorHeap heap(64 * megabyte);
    const auto step = [&] {
        std::vector<std::pair<void*, std::size_t>> saved;
        for (std::size_t layer = 0; layer < 6; ++layer) {
            void* const temporary = heap.allocate(300'001);
            for (const std::size_t size : {96'000, 300'000, 384'000}) saved.emplace_back(heap.allocate(size), size);
            heap.release(temporary, 300'001);
        }
        for (; !saved.empty(); saved.pop_back()) {
            void* const gradient = heap.allocate(saved.back().second);
            heap.release(saved.back().first, saved.back().second);
            heap.release(gradient, saved.back().second);
        }
    };
    step();
    const std::size_t reached = heap.reach();
    for (int i = 0; i < 100; ++i) step();
    EXPECT_EQ(heap.reach(), reached);
    EXPECT_LE(reached, 6 * (96'000 + 300'000 + 384'000) + 2 * 384'000 + 20 * 64);
}

TEST(TensorHeap, FreeNeighboursBecomeOne) {
    TensorHeap heap(4 * megabyte);
    for (const std::vector<std::size_t>& order : {std::vector<std::size_t>{0, 1, 2, 3}, {3, 2, 1, 0}, {0, 2, 1, 3}}) {
        std::vector<void*> blocks;
        for (int i = 0; i < 4; ++i) blocks.push_back(heap.allocate(megabyte));
        EXPECT_EQ(heap.allocate(1), nullptr) << "full";
        for (const std::size_t i : order) heap.release(blocks[i], megabyte);
        void* const whole = heap.allocate(4 * megabyte);
        ASSERT_NE(whole, nullptr);
        heap.release(whole, 4 * megabyte);
    }
}

TEST(TensorHeap, WhatDoesNotFitIsRefused) {
    TensorHeap heap(2 * megabyte);
    EXPECT_EQ(heap.allocate(2 * megabyte + 1), nullptr);
    void* const most = heap.allocate(2 * megabyte);
    EXPECT_NE(most, nullptr);
    heap.release(most, 2 * megabyte);
    TensorHeap none(std::size_t{1} << 60);  // more than there are addresses
    EXPECT_EQ(none.allocate(64), nullptr);
}

TEST(TensorHeap, ADoubleReleaseIsABug) {
    TensorHeap heap(2 * megabyte);
    void* const block = heap.allocate(1000);
    heap.release(block, 1000);
    EXPECT_THROW(heap.release(block, 1000), std::exception);
}

/// Blocks of several threads never share a byte, whoever frees them.
TEST(TensorHeap, ThreadsDoNotMeet) {
    TensorHeap heap(256 * megabyte);
    const auto work = [&](unsigned seed) {
        struct Block {
            unsigned char* data;
            std::size_t size;
            unsigned char mark;
        };
        std::minstd_rand random(seed);
        std::vector<Block> blocks;
        for (int i = 0; i < 3000; ++i) {
            if (blocks.size() < 40) {
                const std::size_t size = 1 + random() % 100'000;
                auto* const data = static_cast<unsigned char*>(heap.allocate(size));
                ASSERT_NE(data, nullptr);
                ASSERT_TRUE(is_aligned(data));
                blocks.push_back({data, size, static_cast<unsigned char>(random())});
                std::memset(data, blocks.back().mark, size);
            } else {
                std::swap(blocks[random() % blocks.size()], blocks.back());
                const Block block = blocks.back();
                blocks.pop_back();
                for (std::size_t b = 0; b < block.size; b += 61) ASSERT_EQ(block.data[b], block.mark);
                heap.release(block.data, block.size);
            }
        }
        for (const Block& block : blocks) heap.release(block.data, block.size);
    };
    std::vector<std::thread> threads;
    for (unsigned seed = 1; seed <= 4; ++seed) threads.emplace_back(work, seed);
    for (std::thread& thread : threads) thread.join();
    EXPECT_NE(heap.allocate(256 * megabyte), nullptr) << "all of it is one free range again";
}

}  // namespace
}  // namespace strata::models
