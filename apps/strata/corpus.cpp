#include "apps/strata/corpus.h"

#include <utility>

#include "core/error.h"
#include "data/packed_batch.h"

namespace strata::app {
namespace {

std::vector<double> labels_in(const data::Dataset& dataset) {
    std::vector<double> labels;
    labels.reserve(dataset.examples.size());
    for (const auto& example : dataset.examples) labels.push_back(example.label);
    return labels;
}

}  // namespace

std::vector<std::int64_t> Corpus::lengths_of(std::span<const std::int64_t> samples) const {
    std::vector<std::int64_t> lengths;
    lengths.reserve(samples.size());
    for (const std::int64_t sample : samples) lengths.push_back(length(sample));
    return lengths;
}

std::vector<double> Corpus::labels_of(std::span<const std::int64_t> samples) const {
    std::vector<double> labels;
    labels.reserve(samples.size());
    for (const std::int64_t sample : samples) labels.push_back(labels_[static_cast<std::size_t>(sample)]);
    return labels;
}

TextCorpus::TextCorpus(const data::Dataset& dataset, data::TokenSequencesView tokens,
                       std::shared_ptr<const void> holder)
    : Corpus(dataset.path, dataset.has_labels, labels_in(dataset)), tokens_(tokens), holder_(std::move(holder)) {
    STRATA_CHECK(tokens_.size() == labels().size(), "tokens of {} inputs for {}", tokens_.size(), labels().size());
}

std::int64_t TextCorpus::length(std::int64_t sample) const {
    return static_cast<std::int64_t>(tokens_[static_cast<std::size_t>(sample)].ids.size());
}

models::Input TextCorpus::input(std::span<const std::int64_t> samples, std::span<const std::int64_t> positions) const {
    std::vector<data::SequenceView> sequences;
    sequences.reserve(samples.size());
    for (std::size_t i = 0; i < samples.size(); ++i) {
        const auto index = static_cast<std::size_t>(samples[i]);
        sequences.push_back({tokens_[index], labels()[index], positions[i]});
    }
    data::PackedBatch batch = data::pack(sequences);
    return models::PackedInput::from_vectors(batch.input_ids, batch.token_type_ids, batch.position_ids,
                                             std::move(batch.offsets), std::move(batch.sample_positions));
}

}  // namespace strata::app
