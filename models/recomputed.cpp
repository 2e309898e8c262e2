#include "models/recomputed.h"

#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <utility>

namespace strata::models {
namespace {

struct Kept : torch::CustomClassHolder {
    explicit Kept(RecomputedPart its_part) : part(std::move(its_part)) {}
    RecomputedPart part;
};

class Recomputed : public torch::autograd::Function<Recomputed> {
  public:
    /// `anchor` wants a gradient in the parameters' place, who are not inputs: backward must come by though x wants
    /// none.
    static torch::Tensor forward(torch::autograd::AutogradContext* context, const torch::Tensor& x,
                                 const torch::Tensor& /*anchor*/, const c10::intrusive_ptr<Kept>& kept) {
        context->save_for_backward({x});
        context->saved_data["kept"] = torch::IValue::make_capsule(kept);
        return kept->part.of(x);
    }

    static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                   const torch::autograd::variable_list& grads) {
        const bool wanted = context->needs_input_grad(0);
        const torch::Tensor x = context->get_saved_variables()[0].detach().set_requires_grad(wanted);
        const auto capsule = context->saved_data["kept"].toCapsule();
        {
            const torch::AutoGradMode with_graph(true);
            const torch::Tensor out = static_cast<const Kept&>(*capsule).part.of(x);
            // Leaves the parameters' gradients where every backward pass does.
            torch::autograd::backward({out}, {grads[0]});
        }
        return {wanted ? x.grad() : torch::Tensor(), {}, {}};
    }
};

}  // namespace

torch::Tensor recomputed(const RecomputedPart& part, const torch::Tensor& x) {
    if (!torch::GradMode::is_enabled() || !(part.trains || x.requires_grad())) return part.of(x);
    const torch::Tensor anchor = torch::empty({0}, x.options()).set_requires_grad(part.trains);
    return Recomputed::apply(x, anchor, c10::make_intrusive<Kept>(part));
}

}  // namespace strata::models
