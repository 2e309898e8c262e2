#include "models/attention_kernel.h"

#include "models/attention_products.h"
#include "models/attention_task.h"
#include "models/scratch.h"

namespace strata::models {
namespace {

using simd::Floats;

constexpr std::int64_t row_block = 4;

/// C[R rows][V * 16 columns] = A B, sums in registers. A is read element by element, so any strides (a transpose) are
/// free.
template <int R, int V>
STRATA_INLINE void product_block(const float* a, std::int64_t a_row, std::int64_t a_column, const float* b,
                                 std::int64_t b_row, float* c, std::int64_t c_row, std::int64_t inner) {
    Floats sum[R][V] = {};
    for (std::int64_t k = 0; k < inner; ++k) {
        Floats b_k[V];
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v) b_k[v] = simd::load(b + k * b_row + v * simd::width);
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r) {
            const float a_rk = a[r * a_row + k * a_column];
#pragma GCC unroll 2
            for (int v = 0; v < V; ++v) sum[r][v] += a_rk * b_k[v];
        }
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v) simd::store(c + r * c_row + v * simd::width, sum[r][v]);
    }
}

/// C = A B for `rows` a multiple of row_block and `columns` of 16. B and C have contiguous rows.
STRATA_INLINE void product(const float* a, std::int64_t a_row, std::int64_t a_column, const float* b,
                           std::int64_t b_row, float* c, std::int64_t c_row, std::int64_t rows, std::int64_t columns,
                           std::int64_t inner) {
    for (std::int64_t i = 0; i < rows; i += row_block) {
        std::int64_t j = 0;
        for (; j + 2 * simd::width <= columns; j += 2 * simd::width) {
            product_block<row_block, 2>(a + i * a_row, a_row, a_column, b + j, b_row, c + i * c_row + j, c_row, inner);
        }
        if (j < columns) {
            product_block<row_block, 1>(a + i * a_row, a_row, a_column, b + j, b_row, c + i * c_row + j, c_row, inner);
        }
    }
}

/// Zero-padded copies for one task. Rows and columns are padded to 16, so that products and transposes have no tails.
class Matrices {
  public:
    Matrices(std::int64_t count, std::int64_t longest, std::int64_t head_size)
        : stride_(round_up(longest, simd::width) * round_up(longest > head_size ? longest : head_size, simd::width)),
          memory_(count * stride_) {}
    float* matrix(std::int64_t i) const { return memory_.floats() + i * stride_; }

  private:
    std::int64_t stride_;
    Scratch memory_;
};

/// One task's matrices, padded.
template <typename T>
struct Task : AttentionTask<T> {
    using AttentionTask<T>::head;
    using AttentionTask<T>::head_size;
    using AttentionTask<T>::first_key;
    using AttentionTask<T>::length;
    using AttentionTask<T>::padded_length;
    using AttentionTask<T>::first_query;
    using AttentionTask<T>::queries;
    using AttentionTask<T>::stride;
    std::int64_t padded_head;
    std::int64_t key_rows, query_rows;  // padded for products over rows

    STRATA_INLINE Task(const AttentionProblem<T>& p, std::int64_t index)
        : AttentionTask<T>(p, index),
          padded_head(round_up(head_size, simd::width)),
          key_rows(round_up(length, row_block)),
          query_rows(round_up(queries, row_block)) {}

    /// to[i][c] = from[i][c] for `rows`, padded with zeros.
    STRATA_INLINE void pack(const T* from, std::int64_t first, std::int64_t rows, float* to) const {
        const T* head_begin = from + first * stride + head * head_size;
        for (std::int64_t i = 0; i < rows; ++i) {
            simd::for_each_sixteen(head_size, [&](std::int64_t c, auto count) STRATA_INLINED {
                simd::store(to + i * padded_head + c, simd::load_some(head_begin + i * stride + c, count));
            });
        }
        for (std::int64_t i = rows * padded_head; i < round_up(rows, simd::width) * padded_head; i += simd::width) {
            simd::store(to + i, simd::Floats{});
        }
    }
    STRATA_INLINE void pack_queries(const T* from, float* to) const { pack(from, first_query, queries, to); }
    STRATA_INLINE void pack_keys(const T* from, float* to) const { pack(from, first_key, length, to); }

    /// to[c][i] = packed[i][c], of keys or values
    STRATA_INLINE void transpose(const float* packed, float* to) const {
        for (std::int64_t i = 0; i < padded_length; i += simd::width) {
            for (std::int64_t c = 0; c < padded_head; c += simd::width) {
                Floats rows[simd::width];
#pragma GCC unroll 16
                for (int r = 0; r < simd::width; ++r) rows[r] = simd::load(packed + (i + r) * padded_head + c);
                simd::transpose(rows);
#pragma GCC unroll 16
                for (int r = 0; r < simd::width; ++r) simd::store(to + (c + r) * padded_length + i, rows[r]);
            }
        }
    }

    STRATA_INLINE void unpack(const float* packed, std::int64_t first, std::int64_t rows, T* to) const {
        T* head_begin = to + first * stride + head * head_size;
        for (std::int64_t i = 0; i < rows; ++i) {
            simd::for_each_sixteen(head_size, [&](std::int64_t c, auto count) STRATA_INLINED {
                simd::store_some(head_begin + i * stride + c, simd::load(packed + i * padded_head + c), count);
            });
        }
    }
    STRATA_INLINE void unpack_queries(const float* packed, T* to) const {
        unpack(packed, first_query, queries, to);
    }
    STRATA_INLINE void unpack_keys(const float* packed, T* to) const {
        unpack(packed, first_key, length, to);
    }
};

template <typename T>
STRATA_INLINE void forward(const AttentionProblem<T>& problem, T* out, float* log_sum_exp, std::int64_t begin,
                           std::int64_t end) {
    const Matrices scratch(5, problem.longest, problem.head_size);
    float *q = scratch.matrix(0), *k = scratch.matrix(1), *k_transposed = scratch.matrix(2),
          *scores = scratch.matrix(3);
    float* v = scratch.matrix(4);
    for (std::int64_t index = begin; index < end; ++index) {
        const Task<T> task(problem, index);
        const std::int64_t length = task.padded_length, head = task.padded_head;
        task.pack_queries(problem.q, q);
        task.pack_keys(problem.k, k);
        task.transpose(k, k_transposed);
        task.pack_keys(problem.v, v);
        product(q, head, 1, k_transposed, length, scores, length, task.query_rows, length, task.head_size);
        softmax(task, scores, task.sums_in(log_sum_exp));
        // The queries are done with: their matrix takes the result.
        product(scores, length, 1, v, head, q, head, task.query_rows, head, task.length);
        task.unpack_queries(q, out);
    }
}

template <typename T>
STRATA_INLINE void backward(const AttentionProblem<T>& problem, const T* grad_out, const float* log_sum_exp, T* grad_q,
                            T* grad_k, T* grad_v, std::int64_t begin, std::int64_t end) {
    const Matrices scratch(7, problem.longest, problem.head_size);
    float *q = scratch.matrix(0), *k = scratch.matrix(1), *grad = scratch.matrix(2), *transposed = scratch.matrix(3);
    float *scores = scratch.matrix(4), *grad_scores = scratch.matrix(5), *result = scratch.matrix(6);
    for (std::int64_t index = begin; index < end; ++index) {
        const Task<T> task(problem, index);
        const std::int64_t length = task.padded_length, head = task.padded_head;
        task.pack_queries(problem.q, q);
        task.pack_keys(problem.k, k);
        task.transpose(k, transposed);
        product(q, head, 1, transposed, length, scores, length, task.query_rows, length, task.head_size);
        task.pack_keys(problem.v, result);
        task.transpose(result, transposed);
        task.pack_queries(grad_out, grad);
        product(grad, head, 1, transposed, length, grad_scores, length, task.query_rows, length, task.head_size);
        softmax_backward(task, task.sums_in(log_sum_exp), scores, grad_scores);
        product(scores, 1, length, grad, head, result, head, task.key_rows, head, task.queries);
        task.unpack_keys(result, grad_v);
        product(grad_scores, length, 1, k, head, result, head, task.query_rows, head, task.length);
        task.unpack_queries(result, grad_q);
        product(grad_scores, 1, length, q, head, result, head, task.key_rows, head, task.queries);
        task.unpack_keys(result, grad_k);
    }
}

}  // namespace

STRATA_CLONES void attention_forward(const AttentionProblem<float>& problem, float* out, float* log_sum_exp,
                                     std::int64_t begin, std::int64_t end) {
    forward(problem, out, log_sum_exp, begin, end);
}

STRATA_CLONES void attention_forward(const AttentionProblem<Bf16>& problem, Bf16* out, float* log_sum_exp,
                                     std::int64_t begin, std::int64_t end) {
    if (attention_products_can(problem.head_size)) {
        attention_products_forward(problem, out, log_sum_exp, begin, end);
    } else {
        forward(problem, out, log_sum_exp, begin, end);
    }
}

STRATA_CLONES void attention_backward(const AttentionProblem<float>& problem, const float* grad_out,
                                      const float* log_sum_exp, float* grad_q, float* grad_k, float* grad_v,
                                      std::int64_t begin, std::int64_t end) {
    backward(problem, grad_out, log_sum_exp, grad_q, grad_k, grad_v, begin, end);
}

STRATA_CLONES void attention_backward(const AttentionProblem<Bf16>& problem, const Bf16* grad_out,
                                      const float* log_sum_exp, Bf16* grad_q, Bf16* grad_k, Bf16* grad_v,
                                      std::int64_t begin, std::int64_t end) {
    if (attention_products_can(problem.head_size)) {
        attention_products_backward(problem, grad_out, log_sum_exp, grad_q, grad_k, grad_v, begin, end);
    } else {
        backward(problem, grad_out, log_sum_exp, grad_q, grad_k, grad_v, begin, end);
    }
}

}  // namespace strata::models
