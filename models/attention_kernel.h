// Self-attention of one sequence and head at a time, all in cache: for the short sequences that text classification is
// made of, where a general matrix product spends its time on set-up. fp32, no torch.
//
// Work is a list of tasks: task t is head t / sequences, sequence t % sequences of the list, so that a thread's
// contiguous share holds every length alike. Tasks touch disjoint memory.
#pragma once

#include <cstdint>

namespace strata::models {

struct AttentionProblem {
    std::int64_t heads, head_size;
    std::int64_t rows;            // T
    std::int64_t sequences;       // entries in the lists below
    const std::int64_t* begins;   // first row of each sequence
    const std::int64_t* lengths;  // tokens of each sequence
    std::int64_t longest;         // of lengths
    const float *q, *k, *v;       // [T, heads * head_size], rows `row_stride` apart
    std::int64_t row_stride;
    const std::uint64_t* sample_keys;  // dropout key of each sequence; null: no dropout
    std::uint32_t dropout_threshold;
    float dropout_scale;
};

/// Writes `out` [T, width] and `log_sum_exp` [heads, T] for the tasks begin .. end.
void attention_forward(const AttentionProblem& problem, float* out, float* log_sum_exp, std::int64_t begin,
                       std::int64_t end);

/// From the gradient of `out` and the saved `log_sum_exp`, writes the gradients of q, k and v, each [T, width].
void attention_backward(const AttentionProblem& problem, const float* grad_out, const float* log_sum_exp, float* grad_q,
                        float* grad_k, float* grad_v, std::int64_t begin, std::int64_t end);

}  // namespace strata::models
