#include "models/attention_products.h"

#include <algorithm>

#include "models/attention_task.h"
#include "models/scratch.h"
#include "models/vector_products.h"

namespace strata::models {
namespace {

using Task = AttentionTask<Bf16>;

/// Vectors also where there are tiles: heads and sequences seldom fill some.
const ProductKernel* kernel() {
    static const ProductKernel* const vectors = vector_products();
    return vectors;
}

/// What one task needs beside its inputs and results; reused by the next.
class Room {
  public:
    Room(const AttentionProblem<Bf16>& problem, bool backward)
        : square_(problem.longest * round_up(problem.longest, simd::width)),
          packed_(round_up(kernel()->packed_left_size(problem.longest, problem.longest), 2 * simd::width)),
          panel_(round_up(kernel()->scratch(std::max(problem.longest, problem.head_size)), simd::width)),
          memory_(panel_ + (backward ? 3 * square_ + packed_ / 2 : square_ + square_ / 2)) {
        panel = memory_.words();
        scores = memory_.floats() + panel_;
        probabilities = reinterpret_cast<Bf16*>(scores + square_);
        if (!backward) return;
        grad_scores = probabilities + square_;
        grads = scores + 2 * square_;
        transposed = reinterpret_cast<Bf16*>(grads + square_);
    }

  private:
    std::int64_t square_, packed_, panel_;
    Scratch memory_;

  public:
    std::int32_t* panel;
    float *scores, *grads = nullptr;
    Bf16 *probabilities, *grad_scores = nullptr, *transposed = nullptr;
};

/// The head's columns of a row.
template <typename Element>
Element* head_of(const Task& task, Element* matrix, std::int64_t row) {
    return matrix + row * task.stride + task.head * task.head_size;
}

void multiply(Product product, const ProductTerm& term, const Room& room) {
    product.terms[0] = term;
    product.term_count = 1;
    kernel()->run(product, 0, kernel()->parts(product), room.panel);
}

/// Of [rows, head size] in place.
Product product_into(const Task& task, Bf16* out, std::int64_t first, std::int64_t rows) {
    Product product{};
    product.rows = rows;
    product.columns = task.head_size;
    product.out = head_of(task, out, first);
    product.out_stride = task.stride;
    return product;
}

/// to [queries, length]: rows of `queries` by rows of `keys`.
void multiply_heads(const Task& task, const Bf16* queries, const Bf16* keys, float* to, const Room& room) {
    Product product{};
    product.rows = task.queries;
    product.columns = task.length;
    product.wide_out = to;
    product.out_stride = task.padded_length;
    const ProductLeft left = left_in_place(head_of(task, queries, task.first_query), task.stride);
    multiply(product, {left, {head_of(task, keys, task.first_key), task.stride, true}, task.head_size}, room);
}

/// `factors` [queries, length] by the rows of `keys`.
void sum_keys(const Task& task, const Bf16* factors, const Bf16* keys, Bf16* to, const Room& room) {
    const ProductLeft left = left_in_place(factors, task.padded_length);
    multiply(product_into(task, to, task.first_query, task.queries),
             {left, {head_of(task, keys, task.first_key), task.stride, false}, task.length}, room);
}

/// `factors` [queries, length], transposed, by the rows of `queries`.
void sum_queries(const Task& task, const Bf16* factors, const Bf16* queries, Bf16* to, const Room& room) {
    kernel()->pack_left(factors, task.padded_length, task.length, task.queries, room.transposed, 0,
                        kernel()->packed_left_parts(task.length));
    const ProductLeft left = packed_left(room.transposed);
    multiply(product_into(task, to, task.first_key, task.length),
             {left, {head_of(task, queries, task.first_query), task.stride, false}, task.queries}, room);
}

STRATA_INLINE void round_scores(const Task& task, const float* from, Bf16* to) {
    for (std::int64_t at = 0; at < task.queries * task.padded_length; at += simd::width)
        simd::store(to + at, simd::load(from + at));
}

STRATA_CLONES void make_probabilities(const Task& task, const Room& room, float* log_sum_exp) {
    softmax(task, room.scores, log_sum_exp);
    round_scores(task, room.scores, room.probabilities);
}

STRATA_CLONES void make_grad_scores(const Task& task, const Room& room, const float* log_sum_exp) {
    softmax_backward(task, log_sum_exp, room.scores, room.grads);
    round_scores(task, room.scores, room.probabilities);
    round_scores(task, room.grads, room.grad_scores);
}

}  // namespace

bool attention_products_can(std::int64_t head_size) {
    return kernel() != nullptr && head_size % 2 == 0;
}

void attention_products_forward(const AttentionProblem<Bf16>& problem, Bf16* out, float* log_sum_exp,
                                std::int64_t begin, std::int64_t end) {
    const Room room(problem, /*backward=*/false);
    for (std::int64_t index = begin; index < end; ++index) {
        const Task task(problem, index);
        multiply_heads(task, problem.q, problem.k, room.scores, room);
        make_probabilities(task, room, task.sums_in(log_sum_exp));
        sum_keys(task, room.probabilities, problem.v, out, room);
    }
}

void attention_products_backward(const AttentionProblem<Bf16>& problem, const Bf16* grad_out, const float* log_sum_exp,
                                 Bf16* grad_q, Bf16* grad_k, Bf16* grad_v, std::int64_t begin, std::int64_t end) {
    const Room room(problem, /*backward=*/true);
    for (std::int64_t index = begin; index < end; ++index) {
        const Task task(problem, index);
        multiply_heads(task, problem.q, problem.k, room.scores, room);
        multiply_heads(task, grad_out, problem.v, room.grads, room);
        make_grad_scores(task, room, task.sums_in(log_sum_exp));
        sum_queries(task, room.probabilities, grad_out, grad_v, room);
        sum_keys(task, room.grad_scores, problem.k, grad_q, room);
        sum_queries(task, room.grad_scores, problem.q, grad_k, room);
    }
}

}  // namespace strata::models
