// The fused update through a GPU and back: copies a case's memory over, launches once, copies the result home.
// Built where nvcc is.
#pragma once

#ifdef STRATA_WITH_CUDA

#include "update_case.h"

#include <span>

namespace strata::optim::testing {

void update_on_device(OptimizerKind kind, UpdateCase& memory, std::span<const UpdateSpan> spans,
                      std::span<const GroupHyper> hypers, const UpdateControl& control);

}  // namespace strata::optim::testing

#endif
