#include "data/images.h"

#include <algorithm>
#include <limits>
#include <regex>

#include "core/error.h"

namespace strata::data {
namespace fs = std::filesystem;
namespace {

/// The names that the file of labels may have; empty where the images' name follows no rule.
std::vector<fs::path> label_files_of(const fs::path& images) {
    static const std::regex rule("(.*)(images|features)([-.])idx[0-9].*");
    const std::string name = images.filename().string();
    std::smatch parts;
    if (!std::regex_match(name, parts, rule)) return {};
    const std::string labels = parts[1].str() + "labels" + parts[3].str() + "idx1-ubyte";
    std::vector<fs::path> files = {images.parent_path() / labels, images.parent_path() / (labels + ".gz")};
    if (name.ends_with(".gz")) std::swap(files[0], files[1]);
    return files;
}

std::optional<fs::path> find_labels(const fs::path& images, Split split) {
    if (split == Split::test) return std::nullopt;  // predictions need none
    const std::vector<fs::path> files = label_files_of(images);
    for (const fs::path& file : files) {
        if (fs::exists(file)) return file;
    }
    if (files.empty()) {
        user_error(
            "{}: by its name there is no telling where its labels are; call the two as MNIST's are called: "
            "train-images-idx3-ubyte and train-labels-idx1-ubyte",
            images.string());
    }
    user_error("{}: its labels should be in {}, which is not there", images.string(), files.front().string());
}

IdxArray read_label_file(const fs::path& path, const ImageSet& images) {
    IdxArray labels = read_idx(path);
    if (labels.shape.size() != 1 || !labels.holds_bytes()) {
        user_error("{}: has {} dimensions{}; labels are unsigned bytes in one dimension", path.string(),
                   labels.shape.size(), labels.holds_bytes() ? "" : " of floats");
    }
    if (labels.shape.front() != images.size()) {
        user_error("{}: has {} labels, but {} has {} images; the files do not belong together", path.string(),
                   labels.shape.front(), images.path.string(), images.size());
    }
    return labels;
}

void keep_first(ImageSet& images, std::int64_t samples) {
    if (samples < 0 || samples >= images.size()) return;
    std::int64_t elements = samples;
    for (const std::int64_t extent : images.sample_shape()) elements *= extent;
    IdxArray& pixels = images.pixels;
    pixels.shape.front() = samples;
    pixels.bytes.resize(pixels.holds_bytes() ? static_cast<std::size_t>(elements) : 0);
    pixels.floats.resize(pixels.holds_bytes() ? 0 : static_cast<std::size_t>(elements));
    images.labels.resize(static_cast<std::size_t>(samples));
}

}  // namespace

ImageSet read_images(const fs::path& path, Split split, std::int64_t max_samples) {
    ImageSet images{path, {}, read_idx(path), {}, false};
    auto& shape = images.pixels.shape;
    if (shape.size() < 2 || shape.size() > 4) {
        user_error("{}: has {} dimension{}; images have three (count, height, width) or four, features two",
                   path.string(), shape.size(), shape.size() == 1 ? "" : "s");
    }
    if (shape.size() == 3) shape.insert(shape.begin() + 1, 1);
    images.labels.assign(static_cast<std::size_t>(images.size()), std::numeric_limits<double>::quiet_NaN());
    if (const auto file = find_labels(path, split)) {
        const IdxArray labels = read_label_file(*file, images);
        images.labels.assign(labels.bytes.begin(), labels.bytes.end());
        images.labels_path = *file;
        images.has_labels = true;
    }
    keep_first(images, max_samples);
    return images;
}

void check_labels(const ImageSet& images, std::int64_t classes) {
    if (!images.has_labels) return;
    for (std::size_t i = 0; i < images.labels.size(); ++i) {
        if (images.labels[i] < static_cast<double>(classes)) continue;
        user_error("{}: image {} (counted from 0) has the label {}, but the model has {} outputs, for labels 0 to {}",
                   images.labels_path.string(), i, images.labels[i], classes, classes - 1);
    }
}

}  // namespace strata::data
