#include "apps/strata/corpus.h"

#include <optional>
#include <string_view>

namespace strata::app {

Corpus tokenize_dataset(const data::Dataset& dataset, const data::WordPieceTokenizer& tokenizer,
                        std::int64_t max_seq_length) {
    Corpus corpus{dataset.path, dataset.has_labels, {}, {}};
    corpus.labels.reserve(dataset.examples.size());
    corpus.encodings.reserve(dataset.examples.size());
    for (const auto& example : dataset.examples) {
        std::optional<std::string_view> pair;
        if (example.text_b) pair = *example.text_b;
        corpus.encodings.push_back(tokenizer.encode(example.text_a, pair, max_seq_length));
        corpus.labels.push_back(example.label);
    }
    return corpus;
}

data::PackedBatch pack_samples(const Corpus& corpus, std::span<const std::int64_t> samples,
                               std::int64_t first_position) {
    std::vector<data::SequenceView> sequences;
    sequences.reserve(samples.size());
    for (std::size_t i = 0; i < samples.size(); ++i) {
        const auto index = static_cast<std::size_t>(samples[i]);
        const auto& encoding = corpus.encodings[index];
        sequences.push_back(
            {encoding.ids, encoding.token_types, corpus.labels[index], first_position + static_cast<std::int64_t>(i)});
    }
    return data::pack(sequences);
}

}  // namespace strata::app
