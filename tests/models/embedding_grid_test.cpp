// Embedding rows and their gradients as a GPU computes them, against the definition in double.
#include "models/embedding_grid.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "tests/models/pass_run.h"

namespace strata::models {
namespace {

using testing::Array;
using testing::expect_close;
using testing::for_all_types;
using testing::Form;
using testing::PassRun;
using testing_support::ThreadOrder;

constexpr std::size_t widths[] = {1, 5, 8, 45, 256, 264, 520};

std::vector<std::int64_t> random_ids(std::size_t tokens, std::int64_t rows, unsigned seed) {
    std::mt19937 generator(seed);
    std::uniform_int_distribution<std::int64_t> any(0, rows - 1);
    std::vector<std::int64_t> ids(tokens);
    for (std::int64_t& id : ids) id = any(generator);
    return ids;
}

/// Runs of these lengths, one after another: ids 1, 2, 3, ...
std::vector<std::int64_t> runs(const std::vector<std::size_t>& lengths) {
    std::vector<std::int64_t> ids;
    for (std::size_t i = 0; i < lengths.size(); ++i) {
        ids.insert(ids.end(), lengths[i], static_cast<std::int64_t>(i) + 1);
    }
    return ids;
}

/// Ids that end before, at and after the borders of chunks, that fill chunks, none at all; mixed up and in order.
std::vector<std::vector<std::int64_t>> some_ids() {
    return {{},
            {0},
            {3},
            runs({32}),
            runs({31, 2}),
            runs({33}),
            runs({32, 32, 1}),
            runs({5, 27, 64, 1}),
            runs({20, 100, 8, 30, 3}),
            runs({64, 31, 34, 1, 1}),
            runs({1, 1000, 1}),
            random_ids(200, 2, 1),
            random_ids(500, 9, 2),
            random_ids(300, 5000, 3),
            std::vector<std::int64_t>(700, 4)};
}

template <typename T>
struct Scatter {
    Scatter(std::vector<std::int64_t> ids, std::size_t its_width, std::size_t phase)
        : token_ids(std::move(ids)),
          width(its_width),
          rows(token_ids.empty() ? 4 : 1 + static_cast<std::size_t>(*std::ranges::max_element(token_ids))),
          grad(Array<T>::random(token_ids.size() * width, phase, 1)),
          table(Array<T>::random(rows * width, phase, 2)),
          before(table),
          order(token_ids.size()),
          edges((token_ids.size() + chunk_tokens - 1) / chunk_tokens * 2 * width, NAN) {
        std::iota(order.begin(), order.end(), std::int64_t{0});
        std::ranges::stable_sort(order, {}, [&](std::int64_t i) { return token_ids[static_cast<std::size_t>(i)]; });
        for (const std::int64_t i : order) sorted.push_back(token_ids[static_cast<std::size_t>(i)]);
    }

    void run(PassRun run, std::int64_t skipped) {
        EmbeddingBackward<T> pass{};
        pass.tokens = static_cast<std::int64_t>(token_ids.size());
        pass.width = static_cast<std::int64_t>(width);
        pass.table_rows = static_cast<std::int64_t>(rows);
        pass.grad = run(grad);
        pass.ids = run(sorted);
        pass.order = run(order);
        pass.skipped = skipped;
        pass.to = run(table);
        pass.edges = run(edges);
        run.run(pass);
    }

    void expect_definition(std::int64_t skipped) const {
        std::vector<double> expected(rows * width), scale(rows * width, 1.0);
        for (std::size_t i = 0; i < expected.size(); ++i) expected[i] = before[i];
        for (std::size_t token = 0; token < token_ids.size(); ++token) {
            if (token_ids[token] == skipped) continue;
            for (std::size_t c = 0; c < width; ++c) {
                const std::size_t at = static_cast<std::size_t>(token_ids[token]) * width + c;
                expected[at] += grad[token * width + c];
                scale[at] += std::abs(grad[token * width + c]);
            }
        }
        expect_close(table, expected, scale, "row element");
    }

    std::vector<std::int64_t> token_ids;
    std::size_t width, rows;
    Array<T> grad, table, before;
    std::vector<std::int64_t> order, sorted;
    std::vector<float> edges;
};

class EmbeddingGrid : public testing::OfBothForms {};

TEST_P(EmbeddingGrid, AddsTheRowsOfItsTables) {
    for_all_types([&](auto type) {
        using T = decltype(type);
        for (const std::size_t width : widths) {
            for (const std::size_t rows : {0, 1, 40}) {
                for (const std::size_t phase : {0, 1}) {
                    SCOPED_TRACE(std::to_string(rows) + " x " + std::to_string(width));
                    auto words = Array<T>::random(50 * width, phase, 1), types = Array<T>::random(2 * width, phase, 2);
                    auto positions = Array<T>::random(9 * width, phase, 3);
                    Array<T> out(rows * width, phase);
                    auto word = random_ids(rows, 50, 4), kind = random_ids(rows, 2, 5), place = random_ids(rows, 9, 6);
                    PassRun run(GetParam());
                    run.run(EmbeddingForward<T>{static_cast<std::int64_t>(rows),
                                                static_cast<std::int64_t>(width),
                                                {run(words), 50, run(word)},
                                                {run(types), 2, run(kind)},
                                                {run(positions), 9, run(place)},
                                                run(out)});
                    std::vector<double> expected;
                    for (std::size_t i = 0; i < out.size(); ++i) {
                        const std::size_t row = i / width, c = i % width;
                        const auto at = [&](std::int64_t id) { return static_cast<std::size_t>(id) * width + c; };
                        expected.push_back(words[at(word[row])] + types[at(kind[row])] + positions[at(place[row])]);
                    }
                    expect_close(out, expected, std::vector<double>(out.size(), 4.0), "element");
                }
            }
        }
    });
}

TEST_P(EmbeddingGrid, AddsEachIdsTokensToItsRow) {
    for_all_types([&](auto type) {
        for (const auto& ids : some_ids()) {
            for (const std::size_t width : widths) {
                for (const std::size_t phase : {0, 1}) {
                    if (phase == 1 && width > 50) continue;
                    SCOPED_TRACE(std::to_string(ids.size()) + " tokens, width " + std::to_string(width));
                    Scatter<decltype(type)> on(ids, width, phase);
                    on.run(PassRun(GetParam()), -1);
                    on.expect_definition(-1);
                }
            }
        }
    });
}

TEST_P(EmbeddingGrid, ASkippedIdGetsNothing) {
    for (const auto& ids : some_ids()) {
        for (const std::int64_t skipped : {0, 1, 2, 4}) {
            Scatter<float> on(ids, 16, 0);
            on.run(PassRun(GetParam()), skipped);
            on.expect_definition(skipped);
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Forms, EmbeddingGrid, ::testing::Values(Form::host_walk, Form::cuda), testing::form_name);

TEST(EmbeddingGridWalk, TheOrderOfThreadsDoesNotMatter) {
    for (const auto& ids : some_ids()) {
        Scatter<Bf16> up(ids, 264, 0), down = up;
        up.run(PassRun(Form::host_walk, ThreadOrder::ascending), -1);
        down.run(PassRun(Form::host_walk, ThreadOrder::descending), -1);
        EXPECT_TRUE(up.table.same_bits(down.table));
    }
}

TEST(EmbeddingGridDeathTest, AWrongIdStopsTheProgram) {
    Array<float> table(4), out(1);
    std::vector<std::int64_t> right{0}, wrong{4};
    PassRun run(Form::host_walk);
    const EmbeddingForward<float> pass{
        1, 1, {run(table), 4, run(wrong)}, {run(table), 4, run(right)}, {run(table), 4, run(right)}, run(out)};
    EXPECT_DEATH(run.run(pass), "");
}

}  // namespace
}  // namespace strata::models
