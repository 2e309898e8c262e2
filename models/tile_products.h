// Products by TDPBF16PS, of processors with AMX: two tiles of A's rows by two of B's columns at a time, against four of
// sums, a tile being 16 rows of 64 bytes. All that is multiplied lies in memory as tiles hold it, zeros to their ends:
// B packed, and of A 32 rows at a time copied, unless it is packed.
#pragma once

#include "models/product_kernel.h"

namespace strata::models {

/// Null where the processor lacks it, or the system does not let the process have it: Linux wants to be asked, which
/// the first call does.
const ProductKernel* tile_products();

/// The same whatever the processor, for tests that play its instructions; null where none is compiled.
const ProductKernel* tile_products_unasked();

}  // namespace strata::models
