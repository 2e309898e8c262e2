#include "optim/instruction_sets.h"
#include "optim/stochastic_rounding.h"

namespace strata::optim {

namespace {

STRATA_CLONES void round_run(float* values, std::int64_t elements, std::uint64_t key, std::uint32_t first) {
    for (std::int64_t i = 0; i < elements; ++i) {
        values[i] = round_to_bf16(values[i], key, first + static_cast<std::uint32_t>(i));
    }
}

}  // namespace

void round_to_bf16(float* values, std::int64_t elements, std::uint64_t key, std::int64_t first) {
    round_run(values, elements, key, static_cast<std::uint32_t>(first));
}

}  // namespace strata::optim
