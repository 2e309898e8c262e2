#include "models/packed_embedding.h"

#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <numeric>
#include <optional>
#include <tuple>
#include <vector>

#include "models/cuda_queue.h"
#include "models/embedding_grid.h"
#include "models/embedding_kernel.h"
#include "models/kernel_data.h"
#include "models/lookup.h"
#include "models/parallel.h"
#include "models/parameter_gradient.h"

namespace strata::models {
namespace {

/// The tokens of each id, ids ascending, a token's order kept.
struct Runs {
    Runs(const torch::Tensor& ids, std::int64_t skipped) : tokens(static_cast<std::size_t>(ids.numel())) {
        const std::int64_t* id = ids.const_data_ptr<std::int64_t>();
        std::iota(tokens.begin(), tokens.end(), std::int64_t{0});
        std::stable_sort(tokens.begin(), tokens.end(), [&](std::int64_t a, std::int64_t b) { return id[a] < id[b]; });
        for (std::size_t begin = 0, end = 0; begin < tokens.size(); begin = end) {
            while (end < tokens.size() && id[tokens[end]] == id[tokens[begin]]) ++end;
            if (id[tokens[begin]] != skipped) runs.push_back({id[tokens[begin]], begin, end});
        }
    }
    struct Run {
        std::int64_t id;
        std::size_t begin, end;
    };
    std::vector<std::int64_t> ids() const {
        std::vector<std::int64_t> ids;
        for (const Run& run : runs) ids.push_back(run.id);
        return ids;
    }
    std::vector<std::int64_t> tokens;
    std::vector<Run> runs;
};

/// Threads share the columns: some ids have one token and some have all of them.
template <typename T, typename To>
void scatter_rows(const torch::Tensor& grad, const Runs& runs, const torch::Tensor& to) {
    constexpr std::int64_t column_block = 64;
    const std::int64_t width = grad.size(1);
    const T* from = data_of<T>(grad);
    To* table = mutable_data_of<To>(to);
    parallel_for(0, (width + column_block - 1) / column_block, 1, [&](std::int64_t first, std::int64_t last) {
        const std::int64_t begin = first * column_block, end = std::min(last * column_block, width);
        for (const Runs::Run& run : runs.runs) {
            scatter_row(from, width, runs.tokens.data() + run.begin, static_cast<std::int64_t>(run.end - run.begin),
                        table + run.id * width, begin, end);
        }
    });
}

void scatter_on_gpu(const torch::Tensor& grad, const torch::Tensor& ids, std::int64_t skipped,
                    const torch::Tensor& to) {
    const auto sorted = at::sort(ids, /*stable=*/true, /*dim=*/0, /*descending=*/false);  // ids, places
    for_cuda_type(grad, [&](auto type) {
        using T = decltype(type);
        EmbeddingBackward<T> pass{};
        pass.tokens = grad.size(0);
        pass.width = grad.size(1);
        pass.table_rows = to.size(0);
        pass.grad = data_of<T>(grad);
        pass.ids = std::get<0>(sorted).const_data_ptr<std::int64_t>();
        pass.order = std::get<1>(sorted).const_data_ptr<std::int64_t>();
        pass.skipped = skipped;
        pass.to = mutable_data_of<T>(to);
        const torch::Tensor edges = torch::empty({pass.chunks(), 2, pass.width}, grad.options().dtype(torch::kFloat32));
        pass.edges = edges.mutable_data_ptr<float>();
        run_cuda_pass(pass, cuda_queue_of(grad));
    });
}

/// A table's gradient; undefined if it went to its place.
torch::Tensor table_gradient(const torch::Tensor& table, const torch::Tensor& ids, std::int64_t skipped,
                             const torch::Tensor& grad) {
    std::optional<Runs> runs;
    if (grad.is_cpu()) runs.emplace(ids, skipped);
    const bool adds = way_of_rows(table, runs ? runs->ids() : std::vector<std::int64_t>()) == GradientWay::add;
    const torch::Tensor to = adds ? table.grad() : torch::zeros_like(table);
    if (!runs) {
        scatter_on_gpu(grad, ids, skipped, to);
    } else if (to.scalar_type() == grad.scalar_type()) {
        for_kernel_type(grad, [&](auto type) { scatter_rows<decltype(type), decltype(type)>(grad, *runs, to); });
    } else {
        scatter_rows<Bf16, float>(grad, *runs, to);
    }
    return adds ? torch::Tensor() : to;
}

/// Tables and the tokens' rows in them.
struct Rows {
    torch::Tensor words, types, positions, word_ids, type_ids, position_ids;
};

void add_rows(const Rows& from, const torch::Tensor& out) {
    const std::int64_t width = out.size(1);
    const auto* word = from.word_ids.const_data_ptr<std::int64_t>();
    const auto* type_id = from.type_ids.const_data_ptr<std::int64_t>();
    const auto* position = from.position_ids.const_data_ptr<std::int64_t>();
    for_kernel_type(out, [&](auto type) {
        using T = decltype(type);
        const T *words = data_of<T>(from.words), *types = data_of<T>(from.types);
        const T* positions = data_of<T>(from.positions);
        T* to = mutable_data_of<T>(out);
        parallel_rows(out.size(0), width, [&](std::int64_t i) {
            embedding_row(words + word[i] * width, types + type_id[i] * width, positions + position[i] * width,
                          to + i * width, width);
        });
    });
}

void add_rows_on_gpu(const Rows& from, const torch::Tensor& out) {
    for_cuda_type(out, [&](auto type) {
        using T = decltype(type);
        const auto table = [](const torch::Tensor& rows, const torch::Tensor& ids) {
            return
                typename EmbeddingForward<T>::Table{data_of<T>(rows), rows.size(0), ids.const_data_ptr<std::int64_t>()};
        };
        run_cuda_pass(EmbeddingForward<T>{out.size(0), out.size(1), table(from.words, from.word_ids),
                                          table(from.types, from.type_ids), table(from.positions, from.position_ids),
                                          mutable_data_of<T>(out)},
                      cuda_queue_of(out));
    });
}

class PackedEmbedding : public torch::autograd::Function<PackedEmbedding> {
  public:
    static torch::Tensor forward(torch::autograd::AutogradContext* context, const torch::Tensor& words,
                                 const torch::Tensor& types, const torch::Tensor& positions, std::int64_t padding_id,
                                 const torch::Tensor& word_ids, const torch::Tensor& type_ids,
                                 const torch::Tensor& position_ids) {
        RECORD_USER_SCOPE("PackedEmbedding");
        torch::Tensor out = torch::empty({word_ids.size(0), words.size(1)}, words.options());
        (words.is_cpu() ? add_rows : add_rows_on_gpu)({words, types, positions, word_ids, type_ids, position_ids}, out);
        context->save_for_backward({words, types, positions, word_ids, type_ids, position_ids});
        context->saved_data["padding"] = padding_id;
        return out;
    }

    static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                   const torch::autograd::variable_list& grads) {
        const auto saved = context->get_saved_variables();
        const torch::Tensor grad = grads[0].contiguous();
        torch::autograd::variable_list results(7);
        for (std::size_t i = 0; i < 3; ++i) {
            if (!context->needs_input_grad(i)) continue;
            const std::int64_t skipped = i == 0 ? context->saved_data["padding"].toInt() : -1;
            results[i] = table_gradient(saved[i], saved[3 + i], skipped, grad);
        }
        return results;
    }
};

}  // namespace

torch::Tensor packed_embedding(const EmbeddingTables& tables, const PackedInput& input) {
    if (!has_kernel(tables.words)) {
        const torch::Tensor words = lookup(tables.words, input.input_ids, tables.padding_id);
        const torch::Tensor types = lookup(tables.types, input.token_type_ids);
        return words + types + lookup(tables.positions, input.position_ids);
    }
    return PackedEmbedding::apply(tables.words.contiguous(), tables.types.contiguous(), tables.positions.contiguous(),
                                  tables.padding_id, input.input_ids.contiguous(), input.token_type_ids.contiguous(),
                                  input.position_ids.contiguous());
}

}  // namespace strata::models
