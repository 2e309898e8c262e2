// What the trainer sees of a network: a batch in, one row of outputs a sample out, parameters and buffers by name.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "models/dropout.h"
#include "models/packed_input.h"

namespace strata::models {

using NamedTensors = std::vector<std::pair<std::string, torch::Tensor>>;

/// A batch of numbers: images, features.
struct DenseInput {
    torch::Tensor values;                        // fp32 [B, ...]
    std::vector<std::int64_t> sample_positions;  // B: each sample's place in the step's global batch
};

/// What a data set makes and a model takes; which of them is settled before training starts.
using Input = std::variant<PackedInput, DenseInput>;

/// Writes a model's folder with these values for its parameters, which are named_parameter_list's, in its order.
using FolderWriter = std::function<void(const std::filesystem::path& folder, const NamedTensors& parameters)>;

class Model {
  public:
    virtual ~Model() = default;

    /// [B, outputs], fp32 though the parameters have 16 bits: a loss is made of fp32. With a key the model trains: it
    /// drops, and whatever else it does in training. Without one it is evaluated. Gradients follow torch's grad mode.
    virtual torch::Tensor forward(const Input& input, const std::optional<DropoutKey>& dropout) = 0;

    // A network whose lower part is a fixed function of each sample can be computed from that part's outputs.

    /// The width of those outputs while the part is fixed: frozen whole, and dropping nothing. Nothing where it is not,
    /// or where the network has no such part.
    virtual std::optional<std::int64_t> fixed_width() const { return std::nullopt; }

    /// They themselves, [B, fixed_width()], without gradient.
    virtual torch::Tensor fixed_part(const Input& input);

    /// What forward gives, from them.
    virtual torch::Tensor forward_from(const FixedInput& fixed, const std::optional<DropoutKey>& dropout);

    /// In registration order, the input's side first; the tensors are the parameters themselves. Tied weights are there
    /// under each of their names.
    virtual NamedTensors named_parameter_list() const = 0;

    /// The tensors that training changes and no gradient reaches (BatchNorm's statistics), themselves.
    virtual NamedTensors named_buffer_list() const { return {}; }

    /// What writes the files from which the model is loaded again, and copies of the tokenizer's files in
    /// `tokenizer_source` (none when the path is empty). It has all it needs but the parameters, so it may be called
    /// from another thread while the model goes on learning. The folder is made if need be. SystemError names the file
    /// that failed.
    virtual FolderWriter folder_writer(const std::filesystem::path& tokenizer_source) const = 0;

    /// Writes them with the parameters as they are.
    void write_folder(const std::filesystem::path& folder, const std::filesystem::path& tokenizer_source) const {
        folder_writer(tokenizer_source)(folder, named_parameter_list());
    }

    /// About how many bytes write_folder writes besides the tokenizer's files.
    virtual std::uint64_t folder_bytes() const;

    /// Whether layers whose every parameter is frozen (requires_grad off) drop, too. By default they do not: what is
    /// frozen is a fixed function, and nothing is gained by noise that nobody learns from.
    void set_dropout_in_frozen(bool drops) { dropout_in_frozen_ = drops; }

    /// Whether such layers, if they keep statistics of the data (BatchNorm), go on doing so, and are normalised by
    /// those of the batch. By default not, for the same reason.
    void set_statistics_in_frozen(bool follow) { statistics_in_frozen_ = follow; }

    /// Whether the layers of a network that can keep their inputs alone for the backward pass and compute the rest
    /// again.
    void set_recomputes(bool recomputes) { recomputes_ = recomputes; }

    /// Whether attention on a GPU has the CPU's masks and sums of one order: then it is not LibTorch's fused
    /// operators', which promise neither.
    void set_ordered_sums(bool ordered) { ordered_sums_ = ordered; }

    /// Told which parameters a forward pass is about to read, each time before it does: they may not be complete
    /// before.
    using BeforeReading = std::function<void(const std::vector<torch::Tensor>& parameters)>;
    void set_before_reading(BeforeReading told) { before_reading_ = std::move(told); }

    /// Whether a pass on a GPU makes the same calls for all batches of one shape, and reads from memory
    /// what differs: then it can be captured in a CUDA graph.
    virtual bool has_fixed_calls() const { return false; }

  protected:
    /// What `part` (a module of torch's) has is about to be read.
    template <typename Module>
    void reads(const Module& part) const {
        if (before_reading_) before_reading_(part.parameters());
    }
    const BeforeReading& before_reading() const { return before_reading_; }
    bool recomputes() const { return recomputes_; }
    bool ordered_sums() const { return ordered_sums_; }
    bool dropout_in_frozen() const { return dropout_in_frozen_; }
    bool statistics_in_frozen() const { return statistics_in_frozen_; }

  private:
    BeforeReading before_reading_;
    bool recomputes_ = false;
    bool ordered_sums_ = false;
    bool dropout_in_frozen_ = false;
    bool statistics_in_frozen_ = false;
};

}  // namespace strata::models
