// A data file as token ids, ready to be packed into batches.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/packed_batch.h"
#include "data/wordpiece.h"

namespace strata::app {

struct Corpus {
    std::filesystem::path path;
    bool has_labels = false;
    std::vector<double> labels;  ///< class index or value; NaN where there is none
    std::vector<data::WordPieceTokenizer::Encoding> encodings;

    std::int64_t size() const { return static_cast<std::int64_t>(encodings.size()); }
};

/// Tokenizes every example; inputs longer than `max_seq_length` tokens are cut as Hugging Face cuts them.
Corpus tokenize_dataset(const data::Dataset& dataset, const data::WordPieceTokenizer& tokenizer,
                        std::int64_t max_seq_length);

/// Packs samples, given by index; sample i of the batch has place `first_position` + i in the global batch.
data::PackedBatch pack_samples(const Corpus& corpus, std::span<const std::int64_t> samples,
                               std::int64_t first_position);

}  // namespace strata::app
