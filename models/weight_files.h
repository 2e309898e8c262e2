// The weights of a folder, whether in one file or in shards with an index, seen as one set of named tensors.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "models/safetensors.h"

namespace strata::models {

class WeightFiles {
  public:
    /// Finds model.safetensors or model.safetensors.index.json. Throws UserError when there is neither, saying how to
    /// convert a pytorch_model.bin, or when index and shards disagree.
    explicit WeightFiles(const std::filesystem::path& folder);

    /// The file that holds each tensor.
    const std::map<std::string, const SafetensorsFile*>& tensors() const { return tensors_; }

  private:
    void open_shards(const std::filesystem::path& folder, const std::filesystem::path& index);

    std::vector<SafetensorsFile> files_;
    std::map<std::string, const SafetensorsFile*> tensors_;
};

}  // namespace strata::models
