// The arithmetic that a training step of a BERT cannot do without: the floating-point operations of its matrix
// products, forward and backward, from the configuration and the batch's lengths.
//
// A product of [m, k] and [k, n] counts 2 m k n. Counted are the linear layers and attention's products, for the tokens
// that there are (no padding), of the last layer what the head reads, and in backward what a gradient needs: inputs' as
// far down as anything trains, weights' where the weight trains. Not counted: elementwise work, what is computed again.
#pragma once

#include <cstdint>

#include "models/activations.h"
#include "models/bert_config.h"

namespace strata::models {

/// Of all sequences of a step.
struct BatchLengths {
    std::int64_t sequences = 0;
    std::int64_t tokens = 0;
    std::int64_t squares = 0;  ///< sum of every length's square

    void add(std::int64_t length) {
        ++sequences;
        tokens += length;
        squares += length * length;
    }
};

/// Operations of one step.
double step_operations(const BertConfig& config, const BatchLengths& batch, const Trains& trains);

}  // namespace strata::models
