// Tensors that a forward pass changes and no gradient reaches, such as BatchNorm's running statistics: every rank
// changes its own, from its own samples, and after every update they are made equal again.
//
// Floating point becomes the mean over ranks, weighted by the samples that each computed: BatchNorm's running mean is
// then that of the whole global batch, however it was cut (its running variance is the mean of the parts' variances). A
// value that all ranks share stays as it is, bit for bit. Anything else (BatchNorm's count of batches) becomes the last
// rank's, which has samples whenever any rank has. An update that is skipped leaves them, too, as they were before it.
//
// So there is one set of values at the border of two updates, and what a checkpoint holds is all there is. Cost: one
// small all-reduce an update, and a broadcast where there are integers; nothing on one rank or without buffers.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <vector>

#include "dist/communicator.h"
#include "dist/group_storage.h"

namespace strata::dist {

class SharedBuffers {
  public:
    /// The tensors themselves, on the CPU, with equal values on all ranks.
    SharedBuffers(const NamedParameters& buffers, Communicator& communicator);

    /// Takes the values that are there now, equal on all ranks, as those before the next update: after loading some.
    void adopt();

    /// Ends an update of which this rank computed `samples` samples. Collective.
    void settle(std::int64_t samples, bool skipped);

  private:
    void average(std::int64_t samples);
    void take_last_ranks();

    Communicator& communicator_;
    std::vector<torch::Tensor> floating_, others_;
    std::vector<torch::Tensor> before_;  // copies of both, in this order
};

}  // namespace strata::dist
