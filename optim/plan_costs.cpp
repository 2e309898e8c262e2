// What a plan costs each rank: memory and bytes on the network.
#include "optim/plan.h"

#include <algorithm>

namespace strata::optim {

RankMemory memory_per_rank(const Plan& plan, int owner, std::int64_t step) {
    RankMemory memory;
    constexpr std::int64_t fp32_bytes = bytes_of(ComputeType::fp32);
    std::int64_t live = 0;
    std::int64_t largest = 0;
    for (std::size_t g = 0; g < plan.groups.size(); ++g) {
        const std::int64_t padded = plan.padded_elements(g);
        const std::int64_t slice_bytes = fp32_bytes * plan.slice(g, owner).size();
        memory.parameter_bytes += bytes_of(plan.compute) * padded;
        if (plan.keeps_masters()) memory.state_bytes += slice_bytes;
        if (plan.trainable(g, step)) {
            const std::int64_t gradients = bytes_of(plan.gradient_type()) * padded;
            if (plan.zero_stage == 1) memory.gradient_bytes += gradients;
            if (plan.keeps_sums()) memory.gradient_bytes += fp32_bytes * padded / plan.owners();
            live += gradients;
            largest = std::max(largest, gradients);
        }
        if (plan.holds_state(g, step)) memory.state_bytes += state_tensors(plan.optimizer) * slice_bytes;
    }
    if (plan.zero_stage == 2) memory.scratch_bytes = std::min(live, std::max(largest, gradient_scratch_bytes));
    return memory;
}

StepTraffic traffic_per_step(const Plan& plan, std::int64_t step) {
    std::int64_t live = 0;
    for (std::size_t g = 0; g < plan.groups.size(); ++g) {
        if (!plan.trainable(g, step)) continue;
        live += plan.padded_elements(g);
    }
    // Padding makes the elements a multiple of the owners, so nothing of theirs is rounded.
    const std::int64_t own = live / plan.owners();
    const std::int64_t once = own * (plan.owners() - 1);
    return {once * bytes_of(plan.gradient_type()) * (plan.zero_stage == 1 ? 1 : plan.micro_batches),
            once * bytes_of(plan.compute), 2 * own * bytes_of(ComputeType::fp32) * (plan.replicas - 1) / plan.replicas};
}

}  // namespace strata::optim
