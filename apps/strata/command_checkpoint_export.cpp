// strata checkpoint export and average: one checkpoint, or the mean of several, as a Hugging Face folder.
#include <torch/types.h>

#include <cstdio>
#include <deque>

#include "apps/strata/checkpoint_weights.h"
#include "apps/strata/commands.h"
#include "core/error.h"
#include "models/hf_folder.h"

namespace strata::app {
namespace {

torch::ScalarType dtype_of(const std::string& name) {
    return name == "bf16" ? torch::kBFloat16 : name == "fp16" ? torch::kFloat16 : torch::kFloat32;
}

void write_folder(const Config& config, const CheckpointWeights& like, const models::MakeTensor& make) {
    models::FolderExport content;
    content.source = like.folder();
    content.tensors = like.tensors();
    content.make = make;
    content.dtype = dtype_of(config.dtype);
    content.max_shard_bytes = models::parse_shard_size(config.max_shard_size, "--max_shard_size");
    models::export_folder(config.output, content);
    std::printf("%s\n", config.output.c_str());
}

/// The mean of a tensor over checkpoints, added up in fp64. What is not floating point is the first's.
torch::Tensor mean_of(const std::deque<CheckpointWeights>& checkpoints, const std::string& name) {
    const torch::Tensor first = checkpoints.front().load(name);
    if (!first.is_floating_point()) return first;
    torch::Tensor sum = first.to(torch::kFloat64);
    for (std::size_t i = 1; i < checkpoints.size(); ++i) sum += checkpoints[i].load(name);
    return sum.div_(static_cast<double>(checkpoints.size()));
}

}  // namespace

int run_export(const Config& config) {
    if (config.checkpoints.size() != 1) user_error("strata checkpoint export takes one checkpoint and a new folder");
    const CheckpointWeights weights(config.checkpoints.front());
    write_folder(config, weights, [&](const models::TensorOutline& tensor) { return weights.load(tensor.name); });
    return exit_done;
}

int run_average(const Config& config) {
    std::deque<CheckpointWeights> checkpoints;
    for (const std::string& folder : config.checkpoints) {
        checkpoints.emplace_back(folder);
        require_same_model(checkpoints.front(), checkpoints.back());
    }
    write_folder(config, checkpoints.front(),
                 [&](const models::TensorOutline& tensor) { return mean_of(checkpoints, tensor.name); });
    return exit_done;
}

}  // namespace strata::app
