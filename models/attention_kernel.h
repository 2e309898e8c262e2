// Self-attention of one sequence and head at a time, all in cache: for the short sequences that text classification is
// made of, where a general matrix product spends its time on set-up. Data is fp32 or bfloat16, arithmetic fp32; where
// the processor multiplies bfloat16, that type's products are models/attention_products.h's. No torch.
//
// Work is a list of tasks: task t is head t / sequences, sequence t % sequences of the list, so that a thread's
// contiguous share holds every length alike. Tasks touch disjoint memory.
#pragma once

#include <cstdint>

#include "models/bf16.h"

namespace strata::models {

/// Queries are all of a sequence's tokens, or its first alone.
template <typename T>
struct AttentionProblem {
    std::int64_t heads, head_size;
    std::int64_t query_rows;            // of q
    std::int64_t sequences;             // entries in the lists below
    const std::int64_t* begins;         // first row of each sequence in k and v
    const std::int64_t* lengths;        // its rows there
    const std::int64_t* query_begins;   // its first row in q
    const std::int64_t* query_lengths;  // its rows there: as many, or 1
    std::int64_t longest;               // of lengths
    const T *q, *k, *v;                 // [rows, heads * head_size]
    const std::uint64_t* sample_keys;   // dropout key of each sequence; null: no dropout
    std::uint32_t dropout_threshold;
    float dropout_scale;
};

/// Writes `out`, like q, and `log_sum_exp` [heads, query_rows] for the tasks begin .. end.
void attention_forward(const AttentionProblem<float>& problem, float* out, float* log_sum_exp, std::int64_t begin,
                       std::int64_t end);
void attention_forward(const AttentionProblem<Bf16>& problem, Bf16* out, float* log_sum_exp, std::int64_t begin,
                       std::int64_t end);

/// From the gradient of `out` and the saved `log_sum_exp`, writes the gradients of q, k and v, shaped as they are.
void attention_backward(const AttentionProblem<float>& problem, const float* grad_out, const float* log_sum_exp,
                        float* grad_q, float* grad_k, float* grad_v, std::int64_t begin, std::int64_t end);
void attention_backward(const AttentionProblem<Bf16>& problem, const Bf16* grad_out, const float* log_sum_exp,
                        Bf16* grad_q, Bf16* grad_k, Bf16* grad_v, std::int64_t begin, std::int64_t end);

}  // namespace strata::models
