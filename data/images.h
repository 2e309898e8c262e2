// Labelled images, or any samples of one shape, from a pair of IDX files.
//
// The first dimension counts the samples. [N, H, W] are images of one channel, [N, C, H, W] of C; [N, F] are rows of
// features. Labels are unsigned bytes, [N], in the neighbour that MNIST's naming gives: `…images-idx3…` (or
// `…features-idx2…`) has its labels in `…labels-idx1-ubyte`, with `.` for the dash where the name has it so, and with
// or without `.gz`.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "data/idx.h"
#include "data/task.h"

namespace strata::data {

struct ImageSet {
    std::filesystem::path path, labels_path;
    IdxArray pixels;             // shape [N, C, H, W] or [N, F]
    std::vector<double> labels;  // N: class index, NaN where the set has none
    bool has_labels = false;

    std::int64_t size() const { return pixels.shape.front(); }
    std::vector<std::int64_t> sample_shape() const { return {pixels.shape.begin() + 1, pixels.shape.end()}; }
};

/// The first `max_samples` of a file (-1: all), for Split::test without labels. Throws UserError: what read_idx throws;
/// other dimensions; no file of labels; as many labels as images are not there.
ImageSet read_images(const std::filesystem::path& path, Split split, std::int64_t max_samples = -1);

/// Throws UserError, naming file and image, for a label that is not below `classes`.
void check_labels(const ImageSet& images, std::int64_t classes);

}  // namespace strata::data
