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

    STRATA_INLINE DropoutRow dropout_row(std::int64_t query) const {
        if (problem.sample_keys == nullptr) return {0, 0, 1.0F};
        return {dropout_row_key_of(problem.sample_keys[sequence], query, head), problem.dropout_threshold,
                problem.dropout_scale};
    }
    STRATA_INLINE simd::Floats dropout_factors(const DropoutRow& row, std::int64_t first) const {
        if (problem.sample_keys == nullptr) return simd::Floats{} + 1.0F;
        return dropout_factors_of(row, static_cast<std::uint32_t>(first));
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

// Rows take their steps together, sixteen at a time: a row's next step waits for a sum over all of it, the other rows
// do not.
inline constexpr std::int64_t rows_together = 16;

/// Products of queries and keys [queries, padded_length] become probabilities (dropout applied) in place, zero where
/// they are padded, and the scores' log-sum-exp.
template <typename T>
STRATA_INLINE void softmax(const AttentionTask<T>& task, float* scores, float* log_sum_exp) {
    const std::int64_t length = task.padded_length, last = length - simd::width;
    const float scale = task.scale;
    for (std::int64_t first = 0; first < task.queries; first += rows_together) {
        const std::int64_t rows = task.queries - first < rows_together ? task.queries - first : rows_together;
        float* const block = scores + first * length;
        float maxima[rows_together], sums[rows_together];
        for (std::int64_t i = 0; i < rows; ++i) {
            float* const row = block + i * length;
            simd::store(row + last, task.within(last, simd::load(row + last), -1e30F));
            simd::Floats largest = simd::load(row);
            for (std::int64_t j = simd::width; j < length; j += simd::width)
                largest = simd::larger(largest, simd::load(row + j));
            maxima[i] = simd::largest_of(largest) * scale;
        }
        for (std::int64_t i = 0; i < rows; ++i) {
            float* const row = block + i * length;
            simd::Floats sum{};
            for (std::int64_t j = 0; j < length; j += simd::width) {
                const simd::Floats e = simd::exp(simd::load(row + j) * scale - maxima[i]);
                simd::store(row + j, e);
                sum += e;
            }
            sums[i] = simd::sum_of(sum);
        }
        for (std::int64_t i = 0; i < rows; ++i) {
            float* const row = block + i * length;
            const float inverse = 1.0F / sums[i];
            const DropoutRow dropout = task.dropout_row(first + i);
            for (std::int64_t j = 0; j < length; j += simd::width)
                simd::store(row + j, simd::load(row + j) * inverse * task.dropout_factors(dropout, j));
            log_sum_exp[first + i] = maxima[i] + std::log(sums[i]);
        }
    }
}

/// From scores and the gradients of dropped probabilities: the dropped probabilities (over the scores) and the
/// gradients of the scores (over the other), ds = scale * p * (dp - Σ p dp).
template <typename T>
STRATA_INLINE void softmax_backward(const AttentionTask<T>& task, const float* log_sum_exp, float* scores,
                                    float* grads) {
    const std::int64_t length = task.padded_length, last = length - simd::width;
    const float scale = task.scale;
    for (std::int64_t first = 0; first < task.queries; first += rows_together) {
        const std::int64_t rows = task.queries - first < rows_together ? task.queries - first : rows_together;
        float weighted[rows_together];
        for (std::int64_t i = 0; i < rows; ++i) {
            float *const its_scores = scores + (first + i) * length, *const its_grads = grads + (first + i) * length;
            simd::store(its_scores + last, task.within(last, simd::load(its_scores + last), -1e30F));
            simd::store(its_grads + last, task.within(last, simd::load(its_grads + last), 0.0F));
            const DropoutRow dropout = task.dropout_row(first + i);
            simd::Floats sum{};
            for (std::int64_t j = 0; j < length; j += simd::width) {
                const simd::Floats p = simd::exp(simd::load(its_scores + j) * scale - log_sum_exp[first + i]);
                const simd::Floats dp = simd::load(its_grads + j) * task.dropout_factors(dropout, j);
                sum += p * dp;
                simd::store(its_scores + j, p);
                simd::store(its_grads + j, dp);
            }
            weighted[i] = simd::sum_of(sum);
        }
        for (std::int64_t i = 0; i < rows; ++i) {
            float *const its_scores = scores + (first + i) * length, *const its_grads = grads + (first + i) * length;
            const DropoutRow dropout = task.dropout_row(first + i);
            for (std::int64_t j = 0; j < length; j += simd::width) {
                const simd::Floats p = simd::load(its_scores + j);
                simd::store(its_grads + j, scale * p * (simd::load(its_grads + j) - weighted[i]));
                simd::store(its_scores + j, p * task.dropout_factors(dropout, j));
            }
        }
    }
}

}  // namespace strata::models
