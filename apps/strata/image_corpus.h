// Images, or rows of features, as a corpus: bytes in memory, made into normalised floats batch by batch.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "apps/strata/corpus.h"
#include "data/images.h"

namespace strata::app {

/// (value − mean) / std, by channel, or the same for all where there is one number. A byte's value is byte / 255, in
/// [0, 1], as torchvision's ToTensor has it; a float's is itself.
struct Normalisation {
    std::vector<double> mean = {0.0};
    std::vector<double> std = {1.0};
};

class ImageCorpus : public Corpus {
  public:
    /// Throws UserError when the normalisation has another number of channels than the images.
    ImageCorpus(data::ImageSet images, const Normalisation& normalisation);

    std::int64_t length(std::int64_t) const override { return 1; }

  private:
    models::Input input(std::span<const std::int64_t> samples, std::span<const std::int64_t> positions) const override;

    data::IdxArray pixels_;
    std::int64_t channels_, elements_;             // of a sample
    std::vector<float> mean_, std_;                // by channel
    std::vector<std::array<float, 256>> of_byte_;  // by channel: what each byte becomes
};

}  // namespace strata::app
