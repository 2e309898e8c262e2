#include "tests/support/torch_in_stream.h"

#include <torch/library.h>
#include <torch/types.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.h"
#include "tests/support/cuda_stand_in.h"

namespace strata::testing_support {
namespace {

// Beneath autograd, whose nodes keep what their operators' parts have made; and nobody else's.
constexpr c10::DispatchKey key = c10::DispatchKey::Fake;
constexpr c10::DispatchKeySet under(c10::DispatchKeySet::FULL_AFTER, key);

// The dispatcher calls a function, not an object.
thread_local cudaStream_t stream_of_thread = nullptr;
thread_local std::vector<c10::IValue> kept;  // of the pass: other streams' work reads it, too

/// The same memory, without what autograd knows of it.
c10::IValue bare(const c10::IValue& value) {
    if (value.isTensor() && value.toTensor().defined()) return value.toTensor().variable_data();
    if (value.isTensorList()) {
        std::vector<torch::Tensor> tensors;
        for (const torch::Tensor& tensor : value.toTensorVector())
            tensors.push_back(tensor.defined() ? tensor.variable_data() : tensor);
        return tensors;
    }
    if (value.isOptionalTensorList()) {
        c10::List<std::optional<torch::Tensor>> tensors;
        for (const std::optional<torch::Tensor>& tensor : value.toOptionalTensorVector())
            tensors.push_back(tensor && tensor->defined() ? std::optional(tensor->variable_data()) : tensor);
        return tensors;
    }
    return value;
}

std::vector<c10::IValue> bare_top(const torch::jit::Stack& stack, std::size_t count) {
    std::vector<c10::IValue> values;
    for (auto value = stack.end() - static_cast<std::ptrdiff_t>(count); value != stack.end(); ++value)
        values.push_back(bare(*value));
    return values;
}

/// Where the result is not that memory itself.
void put(const torch::Tensor& result, const torch::Tensor& place) {
    if (!result.defined() || result.is_alias_of(place)) return;
    place.copy_(result);
}

void put(const c10::IValue& result, const c10::IValue& place) {
    if (result.isTensor()) return put(result.toTensor(), place.toTensor());
    if (!result.isTensorList()) return;
    for (std::size_t i = 0; i < result.toTensorVector().size(); ++i)
        put(result.toTensorVector()[i], place.toTensorVector()[i]);
}

void again(const c10::OperatorHandle& call, torch::jit::Stack stack, const std::vector<c10::IValue>& results) {
    const c10::impl::ExcludeDispatchKeyGuard beneath(key);
    const at::AutoDispatchBelowADInplaceOrView without_autograd;
    call.callBoxed(stack);
    for (std::size_t i = 0; i < results.size(); ++i) put(stack[i], results[i]);
}

/// Whether the host is told what lies in a tensor.
bool looks(std::string_view name) {
    constexpr std::array<std::string_view, 3> lookers{"aten::_local_scalar_dense", "aten::nonzero", "aten::equal"};
    return std::find(lookers.begin(), lookers.end(), name) != lookers.end();
}

void note(const c10::OperatorHandle& call, c10::DispatchKeySet keys, torch::jit::Stack* stack) {
    const c10::impl::ExcludeDispatchKeyGuard beneath(key);
    const std::string_view name = call.operator_name().name;
    if (looks(name)) {
        if (cudaStreamSynchronize(stream_of_thread) != cudaSuccess)
            system_error("{} in a stream that is captured", name);
        return call.redispatchBoxed(keys & under, stack);
    }
    std::vector<c10::IValue> arguments = bare_top(*stack, call.schema().arguments().size());
    call.redispatchBoxed(keys & under, stack);
    std::vector<c10::IValue> results = bare_top(*stack, call.schema().returns().size());
    kept.insert(kept.end(), results.begin(), results.end());
    if (name.starts_with("aten::empty") || name.starts_with("aten::new_empty")) return;
    enqueue(stream_of_thread, [call, arguments = std::move(arguments), results = std::move(results)] {
        again(call, arguments, results);
    });
}

TORCH_LIBRARY_IMPL(_, Fake, library) {
    library.fallback(torch::CppFunction::makeFromBoxedFunction<&note>());
}

}  // namespace

TorchInStream::TorchInStream(cudaStream_t stream) : outer_(std::exchange(stream_of_thread, stream)), notes_(key) {
    cudaStreamSynchronize(stream);
    kept.clear();
}

TorchInStream::~TorchInStream() {
    stream_of_thread = outer_;
}

}  // namespace strata::testing_support
