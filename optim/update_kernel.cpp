#include "optim/update_kernel.h"

namespace strata::optim {

std::vector<std::int64_t> first_tiles(std::span<const UpdateSpan> spans) {
    std::vector<std::int64_t> first{0};
    for (const UpdateSpan& span : spans) {
        const std::int64_t end = span.elements == 0 ? 0 : span.elements + quad_phase(span.param);
        first.push_back(first.back() + (end + kernel_tile - 1) / kernel_tile);
    }
    return first;
}

}  // namespace strata::optim
