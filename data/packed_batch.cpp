#include "data/packed_batch.h"

#include <numeric>

#include "core/error.h"

namespace strata::data {

PackedBatch pack(std::span<const SequenceView> sequences) {
    std::size_t tokens = 0;
    for (const auto& sequence : sequences) tokens += sequence.tokens.ids.size();

    PackedBatch batch;
    batch.input_ids.reserve(tokens);
    batch.token_type_ids.reserve(tokens);
    batch.position_ids.resize(tokens);
    batch.offsets.reserve(sequences.size() + 1);
    batch.labels.reserve(sequences.size());
    batch.sample_positions.reserve(sequences.size());

    auto position = batch.position_ids.begin();
    for (const auto& sequence : sequences) {
        const auto& [ids, first] = sequence.tokens;
        STRATA_CHECK(!ids.empty() && first <= ids.size(), "{} of {} tokens are of type 0", first, ids.size());
        batch.input_ids.insert(batch.input_ids.end(), ids.begin(), ids.end());
        batch.token_type_ids.insert(batch.token_type_ids.end(), first, 0);
        batch.token_type_ids.insert(batch.token_type_ids.end(), ids.size() - first, 1);
        const auto end = position + static_cast<std::ptrdiff_t>(ids.size());
        std::iota(position, end, std::int64_t{0});
        position = end;
        batch.offsets.push_back(batch.tokens());
        batch.labels.push_back(sequence.label);
        batch.sample_positions.push_back(sequence.sample_position);
    }
    return batch;
}

}  // namespace strata::data
