// What a plan costs each rank: memory and bytes on the network.
#include "optim/plan.h"
#include "optim/shard.h"

namespace strata::optim {

namespace {

constexpr std::int64_t bytes_per_element = sizeof(float);

}  // namespace

RankMemory memory_per_rank(const Plan& plan, int rank, std::int64_t step) {
    RankMemory memory;
    for (std::size_t g = 0; g < plan.groups.size(); ++g) {
        const std::int64_t elements = plan.groups[g].elements;
        const std::int64_t padded = bytes_per_element * padded_elements(elements, plan.world_size);
        memory.parameter_bytes += padded;
        if (plan.trainable(g, step)) memory.gradient_bytes += padded;
        if (plan.holds_state(g, step)) {
            memory.state_bytes +=
                bytes_per_element * state_tensors(plan.optimizer) * slice_of(elements, rank, plan.world_size).size();
        }
    }
    return memory;
}

StepTraffic traffic_per_step(const Plan& plan, std::int64_t step) {
    std::int64_t live = 0;
    for (std::size_t g = 0; g < plan.groups.size(); ++g) {
        if (!plan.trainable(g, step)) continue;
        live += bytes_per_element * padded_elements(plan.groups[g].elements, plan.world_size);
    }
    // Padding makes the bytes a multiple of the ranks, so nothing is rounded.
    const std::int64_t once = live / plan.world_size * (plan.world_size - 1);
    return {2 * once, once};
}

}  // namespace strata::optim
