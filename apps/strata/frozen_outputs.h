// What a frozen backbone makes of each training sample, kept: from the second epoch on, a stage whose backbone is
// frozen whole costs its head alone.
//
// Every rank keeps all samples' rows: those that another rank computed come to it in the update in which they were
// computed, whatever rank a shuffled epoch gives them to next. Nothing is saved; a resumed run makes them again as it
// meets the samples.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "apps/strata/corpus.h"
#include "dist/communicator.h"
#include "models/model.h"

namespace strata::app {

class FrozenOutputs {
  public:
    /// Keeps references. With `enabled` false it never keeps anything.
    FrozenOutputs(models::Model& model, const Corpus& corpus, dist::Communicator& communicator, bool enabled);

    /// Where a stage begins: looks whether the model's backbone is fixed now, and forgets everything where it is not.
    void enter_stage();

    /// True while the backbone is fixed and its outputs are kept.
    bool on() const { return on_; }

    /// Makes sure that all of an update's samples are kept. `own` are the micro-batches of this rank, of which it
    /// computes what is not. Returns how many samples the ranks had to compute together. Collective.
    std::int64_t keep(std::span<const std::int64_t> batch, const std::vector<std::span<const std::int64_t>>& own);

    /// Kept rows of samples from that place of the step's global batch on.
    models::FixedInput rows(std::span<const std::int64_t> samples, std::span<const std::int64_t> positions) const;

    /// How many samples are kept, of all.
    std::int64_t kept() const { return kept_count_; }
    bool complete() const { return on_ && kept_count_ == corpus_.size(); }
    std::int64_t bytes() const { return rows_.defined() ? static_cast<std::int64_t>(rows_.nbytes()) : 0; }

  private:
    void compute(std::span<const std::int64_t> samples, std::string& records) const;
    void take(const std::string& records);

    models::Model& model_;
    const Corpus& corpus_;
    dist::Communicator& communicator_;
    bool enabled_;
    bool on_ = false;
    torch::Tensor rows_;  // [all samples, width]
    std::vector<bool> kept_;
    std::int64_t kept_count_ = 0;
};

}  // namespace strata::app
