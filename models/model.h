// What the trainer sees of a network: packed tokens in, one row of outputs a sequence out, parameters by name.
#pragma once

#include <torch/nn/module.h>
#include <torch/types.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "models/dropout.h"
#include "models/packed_input.h"

namespace strata::models {

using NamedTensors = std::vector<std::pair<std::string, torch::Tensor>>;

class SequenceModel : public torch::nn::Module {
  public:
    /// [B, outputs]. Without a key nothing is dropped (evaluation). Gradients follow torch's grad mode.
    virtual torch::Tensor forward(const PackedInput& input, const std::optional<DropoutKey>& dropout) = 0;

    /// Whether layers whose every parameter is frozen (requires_grad off) drop, too. By default they do not: what is
    /// frozen is a fixed function, and nothing is gained by noise that nobody learns from.
    void set_dropout_in_frozen(bool drops) { dropout_in_frozen_ = drops; }

    /// In registration order, the input's side first; the tensors are the parameters themselves.
    NamedTensors named_parameter_list() const;

  protected:
    bool dropout_in_frozen() const { return dropout_in_frozen_; }

  private:
    bool dropout_in_frozen_ = false;
};

}  // namespace strata::models
