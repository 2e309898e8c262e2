// The update's kernels for a GPU that is not there (tests/support/cuda_stand_in.h): each launch walks its grid on the
// host, with the bodies that the kernels call.
#pragma once

#ifdef STRATA_WITH_CUDA

#include "kernel_walk.h"
#include "optim/decision.h"
#include "tests/support/cuda_stand_in.h"

#include <string>

namespace strata::optim::testing {

template <Pass pass, bool measure>
void add_pass_twin() {
    const std::string name = "pass_kernel<(strata::optim::Pass)" + std::to_string(static_cast<int>(pass)) + ", " +
                             (measure ? "true" : "false") + ">";
    testing_support::add_kernel_twin(name, [](void** arguments, dim3 grid, dim3 block) {
        const UpdateTables tables = *static_cast<const UpdateTables*>(arguments[0]);
        return [=] { walk_pass<pass, measure>(tables, grid.x, static_cast<int>(block.x)); };
    });
}

inline void add_update_twins() {
    add_pass_twin<Pass::adamw, false>();
    add_pass_twin<Pass::adamw, true>();
    add_pass_twin<Pass::adam, false>();
    add_pass_twin<Pass::adam, true>();
    add_pass_twin<Pass::sgd, false>();
    add_pass_twin<Pass::sgd, true>();
    add_pass_twin<Pass::lamb_apply, false>();
    add_pass_twin<Pass::lamb_apply, true>();
    add_pass_twin<Pass::lamb_moments, true>();
    add_pass_twin<Pass::square_sum, true>();
    testing_support::add_kernel_twin("decide_kernel", [](void** arguments, dim3, dim3) {
        const auto* const sums = *static_cast<const double**>(arguments[0]);
        const auto groups = *static_cast<const std::int64_t*>(arguments[1]);
        const auto* const max_norm = *static_cast<const double**>(arguments[2]);
        auto* const scale = *static_cast<LossScale**>(arguments[3]);
        auto* const control = *static_cast<UpdateControl**>(arguments[4]);
        return [=] { *control = decide(sums, groups, *max_norm, scale); };
    });
    testing_support::add_kernel_twin("bin_kernel", [](void** arguments, dim3 grid, dim3 block) {
        const auto* const sums = *static_cast<const SumPair**>(arguments[0]);
        const TileBins bins = *static_cast<const TileBins*>(arguments[1]);
        auto* const out = *static_cast<double**>(arguments[2]);
        const int width = *static_cast<const int*>(arguments[3]);
        return [=] {
            for (std::int64_t begin = 0; begin < grid.x; ++begin) {
                for (std::int64_t bin = begin; bin < bins.count; bin += grid.x) {
                    std::vector<SumPair> shared(block.x);
                    for (int thread = 0; thread < static_cast<int>(block.x); ++thread) {
                        shared[static_cast<std::size_t>(thread)] =
                            bin_body(sums, bins, bin, thread, static_cast<int>(block.x));
                    }
                    store_bin(out, bin, width, fold(shared));
                }
            }
        };
    });
}

}  // namespace strata::optim::testing

#endif
