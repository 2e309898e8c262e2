// What every CPU pass over spans makes sure of first.
#pragma once

#include "optim/fused_update.h"

#include <span>

namespace strata::optim {

/// STRATA_CHECK that the span's group is in the table and that it has every buffer the optimizer needs.
void check_span(OptimizerKind kind, const UpdateSpan& span, std::span<const GroupHyper> hypers);

}  // namespace strata::optim
