#include "data/normal_forms.h"

#include <memory>

namespace strata::data {

NormalForms::~NormalForms() {
    for (auto& page : pages_) delete page.load(std::memory_order_relaxed);
}

const NormalForms::Page* NormalForms::make_page(std::size_t number) const {
    auto page = std::make_unique<Page>();
    for (std::size_t i = 0; i < page_size; ++i) (*page)[i] = maker_(static_cast<std::int32_t>(number * page_size + i));
    Page* earlier = nullptr;
    if (pages_[number].compare_exchange_strong(earlier, page.get(), std::memory_order_acq_rel)) return page.release();
    return earlier;  // another thread was quicker, with the same
}

}  // namespace strata::data
