#include "data/packed_batch.h"

#include <numeric>

#include "core/error.h"

namespace strata::data {

PackedBatch pack(std::span<const SequenceView> sequences) {
    std::size_t tokens = 0;
    for (const auto& sequence : sequences) tokens += sequence.ids.size();

    PackedBatch batch;
    batch.input_ids.reserve(tokens);
    batch.token_type_ids.reserve(tokens);
    batch.position_ids.resize(tokens);
    batch.offsets.reserve(sequences.size() + 1);
    batch.labels.reserve(sequences.size());
    batch.sample_positions.reserve(sequences.size());

    auto position = batch.position_ids.begin();
    for (const auto& sequence : sequences) {
        STRATA_CHECK(!sequence.ids.empty() && sequence.ids.size() == sequence.token_types.size(),
                     "{} ids and {} token types", sequence.ids.size(), sequence.token_types.size());
        batch.input_ids.insert(batch.input_ids.end(), sequence.ids.begin(), sequence.ids.end());
        batch.token_type_ids.insert(batch.token_type_ids.end(), sequence.token_types.begin(),
                                    sequence.token_types.end());
        const auto end = position + static_cast<std::ptrdiff_t>(sequence.ids.size());
        std::iota(position, end, std::int64_t{0});
        position = end;
        batch.offsets.push_back(batch.tokens());
        batch.labels.push_back(sequence.label);
        batch.sample_positions.push_back(sequence.sample_position);
    }
    return batch;
}

}  // namespace strata::data
