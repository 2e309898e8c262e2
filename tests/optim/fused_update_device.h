// The passes through a GPU and back: copy a case's memory over, launch, copy the result home. Built where nvcc is.
#pragma once

#ifdef STRATA_WITH_CUDA

#include "optim/update_kernel.h"
#include "update_case.h"

#include <span>
#include <vector>

namespace strata::optim::testing {

/// Without measuring, but for the passes that always do.
void update_on_device(Pass pass, UpdateCase& memory, std::span<const UpdateSpan> spans,
                      std::span<const GroupHyper> hypers, const UpdateControl& control,
                      const std::vector<double>& tensor_sums);

/// A pass that measures, and its sums by bin, `width` for each.
std::vector<double> sums_on_device(Pass pass, UpdateCase& memory, std::span<const UpdateSpan> spans,
                                   std::span<const GroupHyper> hypers, const std::vector<std::int64_t>& bins,
                                   int width);

}  // namespace strata::optim::testing

#endif
