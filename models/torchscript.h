// Any network, as what torch.jit.script or torch.jit.trace has saved: it brings its own code, parameters and buffers.
//
// What it takes is read from the arguments of its forward. One tensor: batches of numbers, [B, ...]. `input_ids`, with
// or without `attention_mask` and `token_type_ids`: texts, int64 [B, longest], padded with 0 where the mask is 0. It
// gives one row of outputs a sample, [B, outputs]; of a tuple that, or of what begins with it, the first.
//
// In training, layers whose every parameter is frozen are fixed functions: they are in evaluation mode, so they neither
// drop nor follow the data with their statistics (BatchNorm), unless told to. A traced module has settled this, and
// dropout, when it was traced. The generator that dropout draws from is seeded anew for each batch by (seed, step,
// place in the global batch): a run that goes on draws what the uncut one would have, but masks depend on how a batch
// is cut into ranks and micro-batches.
//
// Operations run one by one as PyTorch itself runs them: the interpreter's fusion would give other bits in a run's
// first updates than later.
#pragma once

#include <torch/script.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "models/model.h"

namespace strata::models {

/// What a module must be told of the data it was trained for. It travels inside the file as `extra/strata.json`.
struct ScriptNotes {
    std::vector<std::string> labels;  // class i is labels[i]; none for a regression
    std::vector<double> image_mean, image_std;
};

class TorchScriptModel : public Model {
  public:
    /// Throws UserError, naming the file: missing, not TorchScript, no parameters, parameters that are not fp32, a
    /// forward that takes something else.
    explicit TorchScriptModel(const std::filesystem::path& file);

    bool takes_text() const { return !text_arguments_.empty(); }

    /// UserError where the module fails on the input, or gives something else than a row for each sample.
    torch::Tensor forward(const Input& input, const std::optional<DropoutKey>& dropout) override;
    NamedTensors named_parameter_list() const override;
    NamedTensors named_buffer_list() const override;

    /// model.pt, in evaluation mode, with the notes; model.safetensors with parameters and buffers; the tokenizer's
    /// files. The writer holds a copy of the module: torch saves modules, not values.
    FolderWriter folder_writer(const std::filesystem::path& tokenizer_source) const override;

    std::uint64_t folder_bytes() const override { return 2 * Model::folder_bytes(); }

    /// Nothing for a file that strata did not write.
    const std::optional<ScriptNotes>& notes() const { return notes_; }
    void set_notes(ScriptNotes notes) { notes_ = std::move(notes); }

  private:
    /// A module in the tree: its parents come before it.
    struct Part {
        torch::jit::Module module;
        std::ptrdiff_t parent;  // index; -1: none
        std::vector<torch::Tensor> parameters;
        bool has_statistics;
    };

    void read_signature();
    void require_parameters() const;
    void collect_parts(const torch::jit::Module& module, std::ptrdiff_t parent);
    void set_training(bool training);
    torch::jit::IValue call(const Input& input);
    torch::Tensor rows(const torch::jit::IValue& output, std::int64_t samples) const;

    std::filesystem::path file_;
    std::optional<ScriptNotes> notes_;  // before the module: reading it gives both
    torch::jit::Module module_;
    std::vector<std::string> text_arguments_;  // in forward's order; empty: one tensor of numbers
    std::vector<Part> parts_;
};

}  // namespace strata::models
