// A data file in memory, ready to be made into the batches that a model takes.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/token_sequences.h"
#include "models/model.h"

namespace strata::app {

class Corpus {
  public:
    /// `labels` has one for each sample: class index or value, NaN where there is none.
    Corpus(std::filesystem::path path, bool has_labels, std::vector<double> labels)
        : path_(std::move(path)), has_labels_(has_labels), labels_(std::move(labels)) {}
    virtual ~Corpus() = default;

    const std::filesystem::path& path() const { return path_; }
    bool has_labels() const { return has_labels_; }
    const std::vector<double>& labels() const { return labels_; }
    std::int64_t size() const { return static_cast<std::int64_t>(labels_.size()); }

    /// Tokens of a sample; 1 where samples have none: the measure of its work.
    virtual std::int64_t length(std::int64_t sample) const = 0;

    std::vector<std::int64_t> lengths_of(std::span<const std::int64_t> samples) const;
    std::vector<double> labels_of(std::span<const std::int64_t> samples) const;

    /// Of samples, given by index, and their places in the global batch: what randomness is keyed by.
    virtual models::Input input(std::span<const std::int64_t> samples,
                                std::span<const std::int64_t> positions) const = 0;

  private:
    std::filesystem::path path_;
    bool has_labels_;
    std::vector<double> labels_;
};

/// Texts as token ids, packed without padding.
class TextCorpus : public Corpus {
  public:
    /// `tokens` are those of the dataset's examples; `holder` keeps alive what they are views of.
    TextCorpus(const data::Dataset& dataset, data::TokenSequencesView tokens, std::shared_ptr<const void> holder);

    std::int64_t length(std::int64_t sample) const override;

  private:
    models::Input input(std::span<const std::int64_t> samples, std::span<const std::int64_t> positions) const override;

    data::TokenSequencesView tokens_;
    std::shared_ptr<const void> holder_;
};

}  // namespace strata::app
