#include "models/lookup.h"

#include <torch/csrc/autograd/custom_function.h>

#include <tuple>

namespace strata::models {
namespace {

class Lookup : public torch::autograd::Function<Lookup> {
  public:
    static torch::Tensor forward(torch::autograd::AutogradContext* context, const torch::Tensor& table,
                                 const torch::Tensor& ids, std::int64_t padding) {
        context->save_for_backward({ids});
        context->saved_data["rows"] = table.size(0);
        context->saved_data["padding"] = padding;
        return table.index_select(0, ids);
    }

    static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                   const torch::autograd::variable_list& grads) {
        const torch::Tensor& grad = grads[0];
        const std::int64_t padding = context->saved_data["padding"].toInt();
        const auto [taken, place, counts] =
            at::_unique2(context->get_saved_variables()[0], /*sorted=*/true, /*return_inverse=*/true);
        torch::Tensor sums = torch::zeros({taken.size(0), grad.size(1)}, grad.options().dtype(torch::kFloat32));
        sums.index_add_(0, place, grad.to(torch::kFloat32));
        if (padding >= 0) sums.masked_fill_((taken == padding).unsqueeze(1), 0.0);
        torch::Tensor whole = torch::zeros({context->saved_data["rows"].toInt(), grad.size(1)}, grad.options());
        whole.index_copy_(0, taken, sums.to(grad.scalar_type()));
        return {whole, {}, {}};
    }
};

}  // namespace

torch::Tensor lookup(const torch::Tensor& table, const torch::Tensor& ids, std::int64_t padding) {
    if (!c10::isReducedFloatingType(table.scalar_type())) return torch::embedding(table, ids, padding);
    return Lookup::apply(table, ids, padding);
}

}  // namespace strata::models
