#include "models/attention_kernel.h"

#include <cmath>
#include <cstdlib>
#include <memory>
#include <new>

#include "models/dropout_simd.h"
#include "models/simd.h"

namespace strata::models {
namespace {

using simd::Floats;

constexpr std::int64_t row_block = 4;

STRATA_INLINE std::int64_t round_up(std::int64_t n, std::int64_t to) {
    return (n + to - 1) / to * to;
}

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

/// Zero-padded copies for one task. Rows are padded to row_block, columns to 16, so that the products have no tails.
class Scratch {
  public:
    Scratch(std::int64_t matrices, std::int64_t longest, std::int64_t head_size)
        : stride_(round_up(
              round_up(longest, simd::width) * round_up(longest > head_size ? longest : head_size, simd::width), 16)),
          memory_(static_cast<float*>(
              std::aligned_alloc(64, static_cast<std::size_t>(matrices * stride_) * sizeof(float)))) {
        if (!memory_) throw std::bad_alloc();
    }
    float* matrix(std::int64_t i) const { return memory_.get() + i * stride_; }

  private:
    struct Free {
        void operator()(float* memory) const { std::free(memory); }
    };
    std::int64_t stride_;
    std::unique_ptr<float, Free> memory_;
};

/// One task: where its head starts and the padded sizes.
struct Task {
    std::int64_t sequence, head, first_row, length, padded_rows, padded_length, head_size, padded_head;
    const AttentionProblem& problem;

    STRATA_INLINE Task(const AttentionProblem& p, std::int64_t index)
        : sequence(index % p.sequences),
          head(index / p.sequences),
          first_row(p.begins[sequence]),
          length(p.lengths[sequence]),
          padded_rows(round_up(length, row_block)),
          padded_length(round_up(length, simd::width)),
          head_size(p.head_size),
          padded_head(round_up(p.head_size, simd::width)),
          problem(p) {}

    STRATA_INLINE DropoutRow dropout_row(std::int64_t token) const {
        return {dropout_row_key_of(problem.sample_keys[sequence], token, head), problem.dropout_threshold,
                problem.dropout_scale};
    }

    /// to[i][c] = scale * from[i][c], padded with zeros.
    STRATA_INLINE void pack(const float* from, std::int64_t from_stride, float scale, float* to) const {
        const float* head_begin = from + first_row * from_stride + head * head_size;
        for (std::int64_t i = 0; i < padded_rows; ++i) {
            float* row = to + i * padded_head;
            const std::int64_t filled = i < length ? head_size : 0;
            for (std::int64_t c = 0; c < filled; ++c) row[c] = scale * head_begin[i * from_stride + c];
            for (std::int64_t c = filled; c < padded_head; ++c) row[c] = 0.0F;
        }
    }

    /// to[c][i] = packed[i][c]
    STRATA_INLINE void transpose(const float* packed, float* to) const {
        for (std::int64_t c = 0; c < head_size; ++c) {
            float* row = to + c * padded_length;
            for (std::int64_t i = 0; i < length; ++i) row[i] = packed[i * padded_head + c];
            for (std::int64_t i = length; i < padded_length; ++i) row[i] = 0.0F;
        }
    }

    STRATA_INLINE void unpack(const float* packed, float scale, float* to, std::int64_t to_stride) const {
        float* head_begin = to + first_row * to_stride + head * head_size;
        for (std::int64_t i = 0; i < length; ++i) {
            for (std::int64_t c = 0; c < head_size; ++c)
                head_begin[i * to_stride + c] = scale * packed[i * padded_head + c];
        }
    }

    STRATA_INLINE float scale() const { return 1.0F / std::sqrt(static_cast<float>(head_size)); }
};

/// Scores become probabilities (dropout applied) in place; returns the row's log-sum-exp.
STRATA_INLINE float softmax_row(const Task& task, std::int64_t token, float* row) {
    for (std::int64_t j = task.length; j < task.padded_length; ++j) row[j] = -1e30F;
    Floats largest = simd::load(row);
    for (std::int64_t j = simd::width; j < task.padded_length; j += simd::width) {
        largest = simd::larger(largest, simd::load(row + j));
    }
    const float maximum = simd::largest_of(largest);
    Floats sums{};
    for (std::int64_t j = 0; j < task.padded_length; j += simd::width) {
        const Floats e = simd::exp(simd::load(row + j) - maximum);
        simd::store(row + j, e);
        sums += e;
    }
    const float sum = simd::sum_of(sums);
    const float inverse = 1.0F / sum;
    if (task.problem.sample_keys != nullptr) {
        const DropoutRow dropout = task.dropout_row(token);
        for (std::int64_t j = 0; j < task.padded_length; j += simd::width) {
            const Floats factors = dropout_factors_of(dropout, static_cast<std::uint32_t>(j));
            simd::store(row + j, simd::load(row + j) * inverse * factors);
        }
    } else {
        for (std::int64_t j = 0; j < task.padded_length; j += simd::width)
            simd::store(row + j, simd::load(row + j) * inverse);
    }
    return maximum + std::log(sum);
}

/// From a row's scores and the gradient of its dropped probabilities: the dropped probabilities (over the scores) and
/// the gradient of the scores (over the other), ds = p * (dp - Σ p dp).
STRATA_INLINE void softmax_backward_row(const Task& task, std::int64_t token, float log_sum_exp, float* scores,
                                        float* grads) {
    for (std::int64_t j = task.length; j < task.padded_length; ++j) scores[j] = -1e30F;
    const bool drops = task.problem.sample_keys != nullptr;
    const DropoutRow dropout = drops ? task.dropout_row(token) : DropoutRow{0, 0, 1.0F};
    Floats sums{};
    for (std::int64_t j = 0; j < task.padded_length; j += simd::width) {
        const Floats p = simd::exp(simd::load(scores + j) - log_sum_exp);
        const Floats factors = drops ? dropout_factors_of(dropout, static_cast<std::uint32_t>(j)) : Floats{} + 1.0F;
        const Floats dp = simd::load(grads + j) * factors;
        sums += p * dp;
        simd::store(scores + j, p);
        simd::store(grads + j, dp);
    }
    const float weighted = simd::sum_of(sums);
    for (std::int64_t j = 0; j < task.padded_length; j += simd::width) {
        const Floats p = simd::load(scores + j);
        simd::store(grads + j, p * (simd::load(grads + j) - weighted));
        if (drops) simd::store(scores + j, p * dropout_factors_of(dropout, static_cast<std::uint32_t>(j)));
    }
}

}  // namespace

STRATA_CLONES void attention_forward(const AttentionProblem& problem, float* out, float* log_sum_exp,
                                     std::int64_t begin, std::int64_t end) {
    const Scratch scratch(5, problem.longest, problem.head_size);
    float *q = scratch.matrix(0), *k = scratch.matrix(1), *k_transposed = scratch.matrix(2),
          *scores = scratch.matrix(3);
    float* v = scratch.matrix(4);
    const std::int64_t width = problem.heads * problem.head_size;
    for (std::int64_t index = begin; index < end; ++index) {
        const Task task(problem, index);
        task.pack(problem.q, problem.row_stride, task.scale(), q);
        task.pack(problem.k, problem.row_stride, 1.0F, k);
        task.transpose(k, k_transposed);
        task.pack(problem.v, problem.row_stride, 1.0F, v);
        product(q, task.padded_head, 1, k_transposed, task.padded_length, scores, task.padded_length, task.padded_rows,
                task.padded_length, task.head_size);
        float* row_sums = log_sum_exp + task.head * problem.rows + task.first_row;
        for (std::int64_t i = 0; i < task.length; ++i)
            row_sums[i] = softmax_row(task, i, scores + i * task.padded_length);
        // The queries are done with: their matrix takes the result.
        product(scores, task.padded_length, 1, v, task.padded_head, q, task.padded_head, task.padded_rows,
                task.padded_head, task.length);
        task.unpack(q, 1.0F, out, width);
    }
}

STRATA_CLONES void attention_backward(const AttentionProblem& problem, const float* grad_out, const float* log_sum_exp,
                                      float* grad_q, float* grad_k, float* grad_v, std::int64_t begin,
                                      std::int64_t end) {
    const Scratch scratch(7, problem.longest, problem.head_size);
    float *q = scratch.matrix(0), *k = scratch.matrix(1), *grad = scratch.matrix(2), *transposed = scratch.matrix(3);
    float *scores = scratch.matrix(4), *grad_scores = scratch.matrix(5), *result = scratch.matrix(6);
    const std::int64_t width = problem.heads * problem.head_size;
    for (std::int64_t index = begin; index < end; ++index) {
        const Task task(problem, index);
        const std::int64_t length = task.padded_length, head = task.padded_head, rows = task.padded_rows;
        task.pack(problem.q, problem.row_stride, task.scale(), q);
        task.pack(problem.k, problem.row_stride, 1.0F, k);
        task.transpose(k, transposed);
        product(q, head, 1, transposed, length, scores, length, rows, length, task.head_size);
        task.pack(problem.v, problem.row_stride, 1.0F, result);
        task.transpose(result, transposed);
        task.pack(grad_out, width, 1.0F, grad);
        product(grad, head, 1, transposed, length, grad_scores, length, rows, length, task.head_size);
        const float* row_sums = log_sum_exp + task.head * problem.rows + task.first_row;
        for (std::int64_t i = 0; i < task.length; ++i) {
            softmax_backward_row(task, i, row_sums[i], scores + i * length, grad_scores + i * length);
        }
        product(scores, 1, length, grad, head, result, head, rows, head, task.length);
        task.unpack(result, 1.0F, grad_v, width);
        product(grad_scores, length, 1, k, head, result, head, rows, head, task.length);
        task.unpack(result, task.scale(), grad_q, width);
        product(grad_scores, 1, length, q, head, result, head, rows, head, task.length);
        task.unpack(result, 1.0F, grad_k, width);
    }
}

}  // namespace strata::models
