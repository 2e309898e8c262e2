// Reading and writing safetensors files: an 8-byte little-endian header length, a JSON header, raw little-endian data.
// https://github.com/huggingface/safetensors#format
//
// A file is not trusted. Its length, header (at most 100 MB), JSON, dtypes, shapes and offsets are all checked when it
// is opened: every tensor inside the data, none overlapping, no holes, each as long as its shape says. Anything else is
// a UserError naming the file and, where there is one, the tensor. NaN and infinity are data, not errors.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/file.h"

namespace strata::models {

struct TensorInfo {
    torch::ScalarType dtype;
    std::vector<std::int64_t> shape;
    std::uint64_t begin, end;  // bytes from the start of the data
};

class SafetensorsFile {
  public:
    explicit SafetensorsFile(const std::filesystem::path& path);

    const std::map<std::string, TensorInfo>& tensors() const { return tensors_; }
    const std::map<std::string, std::string>& metadata() const { return metadata_; }
    const std::filesystem::path& path() const { return file_.path(); }

    /// Throws UserError when there is no such tensor.
    const TensorInfo& info(const std::string& name) const;

    /// A copy that owns its memory, in the file's dtype. Throws UserError when there is no such tensor.
    torch::Tensor load(const std::string& name) const;

    /// Into a tensor of the same shape, whose type it takes on: without a copy between, where the types are alike.
    void load_into(const std::string& name, torch::Tensor& tensor) const;

  private:
    MappedFile file_;
    std::uint64_t data_begin_ = 0;
    std::map<std::string, TensorInfo> tensors_;
    std::map<std::string, std::string> metadata_;
};

/// Fills each tensor from the one of its name in the file. Throws UserError where there is none, or one of another type
/// or shape.
void read_tensors(const SafetensorsFile& file, const std::vector<std::pair<std::string, torch::Tensor>>& tensors);

/// A tensor that is to be written.
struct TensorOutline {
    std::string name;
    torch::ScalarType dtype;
    std::vector<std::int64_t> shape;

    std::int64_t elements() const;
    std::uint64_t bytes() const;
};

/// Makes the tensor of an outline; called once for each, in their order.
using MakeTensor = std::function<torch::Tensor(const TensorOutline&)>;

/// Writes tensors that are made one at a time, so that none but one need be in memory. Otherwise as below.
void write_safetensors(const std::filesystem::path& path, std::span<const TensorOutline> outlines,
                       const MakeTensor& make, const std::map<std::string, std::string>& metadata = {{"format", "pt"}});

/// Writes the tensors in their order, beside `path`, syncs, renames: the file is whole or absent. Tensors need not be
/// contiguous or on the CPU. Throws SystemError naming the file (disk full, read-only).
void write_safetensors(const std::filesystem::path& path,
                       const std::vector<std::pair<std::string, torch::Tensor>>& tensors,
                       const std::map<std::string, std::string>& metadata = {{"format", "pt"}});

}  // namespace strata::models
