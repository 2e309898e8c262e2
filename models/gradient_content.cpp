#include "models/gradient_content.h"

#include <c10/core/TensorImpl.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <unordered_map>

#include "core/error.h"

namespace strata::models {
namespace {

/// Lies with the gradient's tensor, where kernels find it.
struct Content final : c10::BackendMeta {
    enum class Kind { rows, made_whole, anything, stale };
    Kind kind = Kind::rows;
    std::vector<std::int64_t> rows;                            // that may differ from zero
    std::vector<const torch::autograd::Node*> accumulators{};  // that the hook is on

    void become(Kind next) {
        kind = next;
        rows.clear();
    }
};

Content* content_of(const torch::Tensor& grad) {
    if (!grad.defined()) return nullptr;
    return dynamic_cast<Content*>(grad.unsafeGetTensorImpl()->get_backend_meta());
}

void zero_elements(const torch::Tensor& grad, std::int64_t begin, std::int64_t end) {
    if (begin >= end) return;
    const auto size = static_cast<std::int64_t>(grad.element_size());
    std::memset(static_cast<std::byte*>(grad.mutable_data_ptr()) + begin * size, 0,
                static_cast<std::size_t>((end - begin) * size));
}

void zero_rows(const torch::Tensor& grad, std::span<const std::int64_t> rows) {
    if (rows.empty()) return;  // as of every gradient that is no table's: a scalar has no size(0)
    const std::int64_t width = grad.numel() / grad.size(0);
    for (const std::int64_t row : rows) zero_elements(grad, row * width, (row + 1) * width);
}

void zero_stale(const torch::Tensor& grad, Content& content) {
    if (content.kind != Content::Kind::stale) return;
    torch::Tensor(grad).zero_();
    content.become(Content::Kind::rows);
}

}  // namespace

bool hold_whole(const torch::Tensor& grad) {
    Content* const content = content_of(grad);
    if (content == nullptr) return false;
    const Content::Kind kind = content->kind;
    const bool writes = kind == Content::Kind::stale || (kind == Content::Kind::rows && content->rows.empty());
    const bool all_by_kernels = writes || kind == Content::Kind::made_whole;
    content->become(all_by_kernels ? Content::Kind::made_whole : Content::Kind::anything);
    return writes;
}

void hold_rows(const torch::Tensor& grad, std::span<const std::int64_t> rows) {
    Content* const content = content_of(grad);
    if (content == nullptr) return;
    zero_stale(grad, *content);
    if (content->kind != Content::Kind::rows) return content->become(Content::Kind::anything);
    content->rows.insert(content->rows.end(), rows.begin(), rows.end());
    if (std::ssize(content->rows) > grad.size(0)) content->become(Content::Kind::anything);  // no fewer to zero
}

struct GradientContents::Watched {
    /// Called by autograd before the accumulation node adds what it was given, or finds nothing to add.
    class BeforeAddition final : public torch::autograd::FunctionPreHook {
      public:
        explicit BeforeAddition(torch::Tensor grad) : grad_(std::move(grad)) {}
        torch::autograd::variable_list operator()(const torch::autograd::variable_list& given) override {
            Content* const content = content_of(grad_);
            if (content != nullptr && given[0].defined()) {
                zero_stale(grad_, *content);
                content->become(Content::Kind::anything);
            }
            return given;
        }

      private:
        torch::Tensor grad_;
    };

    Watched(const torch::Tensor& parameter, const c10::intrusive_ptr<Content>& content)
        : grad(parameter.grad()), accumulator(torch::autograd::impl::grad_accumulator(parameter)) {
        grad.unsafeGetTensorImpl()->set_backend_meta(content);
        auto made = std::make_unique<BeforeAddition>(grad);
        hook = made.get();
        accumulator->add_pre_hook(std::move(made));
        content->accumulators.push_back(accumulator.get());
    }
    ~Watched() {
        std::erase_if(accumulator->pre_hooks(), [&](const auto& other) { return other.get() == hook; });
        grad.unsafeGetTensorImpl()->set_backend_meta(nullptr);
    }
    Watched(const Watched&) = delete;
    Watched& operator=(const Watched&) = delete;

    torch::Tensor grad;
    std::shared_ptr<torch::autograd::Node> accumulator;
    const torch::autograd::FunctionPreHook* hook = nullptr;
};

GradientContents::GradientContents() = default;
GradientContents::~GradientContents() = default;

void GradientContents::watch(const std::vector<torch::Tensor>& parameters) {
    watched_.clear();
    std::unordered_map<const void*, c10::intrusive_ptr<Content>> of_place;
    for (const torch::Tensor& parameter : parameters) {
        const torch::Tensor& grad = parameter.grad();
        STRATA_CHECK(grad.defined() && grad.is_cpu() && grad.is_contiguous(),
                     "a gradient whose content is not to be known");
        auto& content = of_place[grad.const_data_ptr()];
        if (!content) content = c10::make_intrusive<Content>();
        watched_.push_back(std::make_unique<Watched>(parameter, content));
    }
}

void GradientContents::start_anew(const torch::Tensor& parameter, std::pair<std::int64_t, std::int64_t> changed) {
    const torch::Tensor& grad = parameter.grad();
    Content* const content = content_of(grad);
    STRATA_CHECK(content != nullptr, "a gradient that nobody watches");
    const auto accumulator = torch::autograd::impl::try_get_grad_accumulator(parameter);
    STRATA_CHECK(std::ranges::count(content->accumulators, accumulator.get()) > 0,
                 "a parameter of another type or place than when its gradient was bound");
    switch (content->kind) {
        case Content::Kind::rows:
            zero_rows(grad, content->rows);
            zero_elements(grad, changed.first, changed.second);
            return content->become(Content::Kind::rows);
        case Content::Kind::made_whole:
            return content->become(Content::Kind::stale);
        case Content::Kind::anything:
            torch::Tensor(grad).zero_();
            return content->become(Content::Kind::rows);
        case Content::Kind::stale:
            return;
    }
}

void GradientContents::settle(const torch::Tensor& parameter) {
    if (Content* const content = content_of(parameter.grad())) zero_stale(parameter.grad(), *content);
}

}  // namespace strata::models
