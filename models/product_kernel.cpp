#include "models/product_kernel.h"

#include "models/tile_products.h"
#include "models/vector_products.h"

namespace strata::models {

const ProductKernel* fastest_products() {
    static const ProductKernel* const fastest = tile_products() != nullptr ? tile_products() : vector_products();
    return fastest;
}

}  // namespace strata::models
