// What the attention kernels share: where a task's rows lie, and what becomes of a row of scores. For kernel files,
// which include no torch. Rows of scores are padded to sixteens of floats.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/round_up.h"
#include "models/attention_kernel.h"
#include "models/dropout_simd.h"
#include "models/simd.h"

namespace strata::models {

/// One head of one sequence.
template <typename T>
struct AttentionTask {
    std::int64_t sequence, head, head_size;
    std::int64_t first_key, length, padded_length;  // keys and values
    std::int64_t first_query, queries;
    std::int64_t stride;  // between rows in memory
    float scale;          // of scores
    const AttentionProblem<T>& problem;

    STRATA_INLINE AttentionTask(const AttentionProblem<T>& p, std::int64_t index)
        : sequence(index % p.sequences),
          head(index / p.sequences),
          head_size(p.head_size),
          first_key(p.begins[sequence]),
          length(p.lengths[sequence]),
          padded_length(round_up(length, simd::width)),
          first_query(p.query_begins[sequence]),
          queries(p.query_lengths[sequence]),
          stride(p.heads * p.head_size),
          scale(1.0F / std::sqrt(static_cast<float>(head_size))),
          problem(p) {}

    STRATA_INLINE DropoutRow dropout_row(std::int64_t token) const {
        return {dropout_row_key_of(problem.sample_keys[sequence], token, head), problem.dropout_threshold,
                problem.dropout_scale};
    }

    /// Sixteen of a row's from `first` on: `other` where there are no keys.
    STRATA_INLINE simd::Floats within(std::int64_t first, simd::Floats x, float other) const {
        return simd::first_lanes(x, length - first, other);
    }

    /// Of this task's queries.
    template <typename Float>
    STRATA_INLINE Float* sums_in(Float* log_sum_exp) const {
        return log_sum_exp + head * problem.query_rows + first_query;
    }
};

/// A row's products of queries and keys become probabilities (dropout applied) in place, zero where they are padded;
/// returns the log-sum-exp of the scores.
template <typename T>
STRATA_INLINE float softmax_row(const AttentionTask<T>& task, std::int64_t token, float* row) {
    float* const last = row + task.padded_length - simd::width;
    simd::store(last, task.within(last - row, simd::load(last), -1e30F));
    simd::Floats largest = simd::load(row);
    for (std::int64_t j = simd::width; j < task.padded_length; j += simd::width) {
        largest = simd::larger(largest, simd::load(row + j));
    }
    const float scale = task.scale, maximum = simd::largest_of(largest) * scale;
    simd::Floats sums{};
    for (std::int64_t j = 0; j < task.padded_length; j += simd::width) {
        const simd::Floats e = simd::exp(simd::load(row + j) * scale - maximum);
        simd::store(row + j, e);
        sums += e;
    }
    const float sum = simd::sum_of(sums);
    const float inverse = 1.0F / sum;
    if (task.problem.sample_keys != nullptr) {
        const DropoutRow dropout = task.dropout_row(token);
        for (std::int64_t j = 0; j < task.padded_length; j += simd::width) {
            const simd::Floats factors = dropout_factors_of(dropout, static_cast<std::uint32_t>(j));
            simd::store(row + j, simd::load(row + j) * inverse * factors);
        }
    } else {
        for (std::int64_t j = 0; j < task.padded_length; j += simd::width)
            simd::store(row + j, simd::load(row + j) * inverse);
    }
    return maximum + std::log(sum);
}

/// From a row's scores and the gradient of its dropped probabilities: the dropped probabilities (over the scores) and
/// the gradient of the scores (over the other), ds = scale * p * (dp - Σ p dp).
template <typename T>
STRATA_INLINE void softmax_backward_row(const AttentionTask<T>& task, std::int64_t token, float log_sum_exp,
                                        float* scores, float* grads) {
    const std::int64_t last = task.padded_length - simd::width;
    simd::store(scores + last, task.within(last, simd::load(scores + last), -1e30F));
    simd::store(grads + last, task.within(last, simd::load(grads + last), 0.0F));
    const float scale = task.scale;
    const bool drops = task.problem.sample_keys != nullptr;
    const DropoutRow dropout = drops ? task.dropout_row(token) : DropoutRow{0, 0, 1.0F};
    simd::Floats sums{};
    for (std::int64_t j = 0; j < task.padded_length; j += simd::width) {
        const simd::Floats p = simd::exp(simd::load(scores + j) * scale - log_sum_exp);
        const simd::Floats factors =
            drops ? dropout_factors_of(dropout, static_cast<std::uint32_t>(j)) : simd::Floats{} + 1.0F;
        const simd::Floats dp = simd::load(grads + j) * factors;
        sums += p * dp;
        simd::store(scores + j, p);
        simd::store(grads + j, dp);
    }
    const float weighted = simd::sum_of(sums);
    for (std::int64_t j = 0; j < task.padded_length; j += simd::width) {
        const simd::Floats p = simd::load(scores + j);
        simd::store(grads + j, scale * p * (simd::load(grads + j) - weighted));
        if (drops) simd::store(scores + j, p * dropout_factors_of(dropout, static_cast<std::uint32_t>(j)));
    }
}

}  // namespace strata::models
