// Packed batches as the tensors a model takes.
#pragma once

#include "data/packed_batch.h"
#include "models/packed_input.h"

namespace strata::app {

inline models::PackedInput to_input(data::PackedBatch batch) {
    return models::PackedInput::from_vectors(batch.input_ids, batch.token_type_ids, batch.position_ids,
                                             std::move(batch.offsets), std::move(batch.sample_positions));
}

}  // namespace strata::app
