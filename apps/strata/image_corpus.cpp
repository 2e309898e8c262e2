#include "apps/strata/image_corpus.h"

#include <torch/types.h>

#include <numeric>

#include "core/error.h"

namespace strata::app {
namespace {

std::vector<float> by_channel(const std::vector<double>& values, std::int64_t channels, const char* option,
                              const std::filesystem::path& path) {
    if (values.size() != 1 && static_cast<std::int64_t>(values.size()) != channels) {
        user_error("{} has {} numbers, but the images in {} have {} channel{}", option, values.size(), path.string(),
                   channels, channels == 1 ? "" : "s");
    }
    std::vector<float> result(values.begin(), values.end());
    result.resize(static_cast<std::size_t>(channels), result.front());
    return result;
}

}  // namespace

ImageCorpus::ImageCorpus(data::ImageSet images, const Normalisation& normalisation)
    : Corpus(images.path, images.has_labels, std::move(images.labels)), pixels_(std::move(images.pixels)) {
    const auto& shape = pixels_.shape;
    channels_ = shape.size() == 4 ? shape[1] : 1;
    elements_ = std::accumulate(shape.begin() + 1, shape.end(), std::int64_t{1}, std::multiplies<>());
    mean_ = by_channel(normalisation.mean, channels_, "image_mean", path());
    std_ = by_channel(normalisation.std, channels_, "image_std", path());
    for (std::size_t channel = 0; channel < mean_.size(); ++channel) {
        auto& table = of_byte_.emplace_back();
        for (std::size_t byte = 0; byte < table.size(); ++byte) {
            table[byte] = (static_cast<float>(byte) / 255.0f - mean_[channel]) / std_[channel];
        }
    }
}

models::Input ImageCorpus::input(std::span<const std::int64_t> samples, std::span<const std::int64_t> positions) const {
    std::vector<std::int64_t> shape = pixels_.shape;
    shape.front() = static_cast<std::int64_t>(samples.size());
    models::DenseInput input{torch::empty(shape), {positions.begin(), positions.end()}};
    float* out = input.values.data_ptr<float>();
    const std::int64_t of_channel = elements_ / channels_;
    for (const std::int64_t sample : samples) {
        auto at = static_cast<std::size_t>(sample * elements_);
        for (std::size_t channel = 0; channel < of_byte_.size(); ++channel) {
            for (std::int64_t i = 0; i < of_channel; ++i, ++at) {
                *out++ = pixels_.holds_bytes() ? of_byte_[channel][pixels_.bytes[at]]
                                               : (pixels_.floats[at] - mean_[channel]) / std_[channel];
            }
        }
    }
    return input;
}

}  // namespace strata::app
