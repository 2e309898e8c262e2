#include "models/script_copy.h"

#include <map>
#include <tuple>

namespace strata::models {
namespace {

using ObjectPointer = c10::intrusive_ptr<c10::ivalue::Object>;

class Copier {
  public:
    ObjectPointer copy(const ObjectPointer& original) {
        const auto [known, is_new] = objects_.try_emplace(original.get());
        if (!is_new) return known->second;
        const ObjectPointer own = original->copy();
        objects_[original.get()] = own;
        for (std::size_t i = 0; i < own->slots().size(); ++i) {
            const c10::IValue value = own->getSlot(i);
            if (value.isObject()) own->setSlot(i, copy(value.toObject()));
            if (value.isTensor() && value.toTensor().defined()) own->setSlot(i, copy(value.toTensor()));
        }
        return own;
    }

  private:
    torch::Tensor copy(const torch::Tensor& original) {
        auto& own = tensors_[{original.const_data_ptr(), original.scalar_type(), original.sizes().vec()}];
        if (!own.defined()) own = original.detach().clone().set_requires_grad(original.requires_grad());
        return own;
    }

    std::map<const void*, ObjectPointer> objects_;
    std::map<std::tuple<const void*, torch::ScalarType, std::vector<std::int64_t>>, torch::Tensor> tensors_;
};

}  // namespace

torch::jit::Module copy_of_module(const torch::jit::Module& module) {
    return torch::jit::Module(Copier().copy(module._ivalue()));
}

}  // namespace strata::models
