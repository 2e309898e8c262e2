// What a plan costs each rank: memory and bytes on the network.
#include "optim/plan.h"

#include <algorithm>

namespace strata::optim {

namespace {

constexpr std::int64_t bytes_per_element = sizeof(float);

}  // namespace

RankMemory memory_per_rank(const Plan& plan, int rank, std::int64_t step) {
    RankMemory memory;
    std::int64_t live = 0;
    std::int64_t largest = 0;
    for (std::size_t g = 0; g < plan.groups.size(); ++g) {
        const std::int64_t padded = bytes_per_element * plan.padded_elements(g);
        memory.parameter_bytes += padded;
        if (plan.trainable(g, step)) {
            memory.gradient_bytes += plan.zero_stage == 1 ? padded : padded / plan.world_size;
            live += padded;
            largest = std::max(largest, padded);
        }
        if (plan.holds_state(g, step)) {
            memory.state_bytes += bytes_per_element * state_tensors(plan.optimizer) * plan.slice(g, rank).size();
        }
    }
    if (plan.zero_stage == 2) memory.scratch_bytes = std::min(live, std::max(largest, gradient_scratch_bytes));
    return memory;
}

StepTraffic traffic_per_step(const Plan& plan, std::int64_t step) {
    std::int64_t live = 0;
    for (std::size_t g = 0; g < plan.groups.size(); ++g) {
        if (!plan.trainable(g, step)) continue;
        live += bytes_per_element * plan.padded_elements(g);
    }
    // Padding makes the bytes a multiple of the ranks, so nothing is rounded.
    const std::int64_t once = live / plan.world_size * (plan.world_size - 1);
    return {once * (plan.zero_stage == 1 ? 1 : plan.micro_batches), once};
}

}  // namespace strata::optim
