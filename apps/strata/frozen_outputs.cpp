#include "apps/strata/frozen_outputs.h"

#include <torch/types.h>

#include <algorithm>
#include <cstring>
#include <iterator>

#include "apps/strata/device.h"
#include "core/error.h"

namespace strata::app {

FrozenOutputs::FrozenOutputs(models::Model& model, const Corpus& corpus, dist::Communicator& communicator, bool enabled)
    : model_(model), corpus_(corpus), communicator_(communicator), enabled_(enabled) {}

void FrozenOutputs::enter_stage() {
    const std::optional<std::int64_t> width = enabled_ ? model_.fixed_width() : std::nullopt;
    on_ = width.has_value();
    if (on_ && rows_.defined()) return;  // still the same backbone: a stage in between that trained it has dropped all
    rows_ = on_ ? torch::empty({corpus_.size(), *width}) : torch::Tensor();
    kept_.assign(on_ ? static_cast<std::size_t>(corpus_.size()) : 0, false);
    kept_count_ = 0;
}

std::int64_t FrozenOutputs::keep(std::span<const std::int64_t> batch,
                                 const std::vector<std::span<const std::int64_t>>& own) {
    const auto is_new = [&](std::int64_t sample) { return !kept_[static_cast<std::size_t>(sample)]; };
    // All ranks keep the same samples, so they agree on whether anything has to be sent.
    const auto missing = std::count_if(batch.begin(), batch.end(), is_new);
    if (missing == 0) return 0;
    std::string records;
    for (const auto samples : own) {
        std::vector<std::int64_t> to_compute;
        std::copy_if(samples.begin(), samples.end(), std::back_inserter(to_compute), is_new);
        compute(to_compute, records);
    }
    for (const std::string& each : communicator_.all_gather_bytes(records)) take(each);
    STRATA_CHECK(std::none_of(batch.begin(), batch.end(), is_new), "no rank computed some sample of a batch");
    return missing;
}

/// Appends (sample index, row of floats) records.
void FrozenOutputs::compute(std::span<const std::int64_t> samples, std::string& records) const {
    if (samples.empty()) return;
    const torch::Tensor rows = model_.fixed_part(on_device(corpus_.input(samples, samples), device_of(model_)))
                                   .to(torch::kCPU, torch::kFloat32)
                                   .contiguous();
    const auto row_bytes = static_cast<std::size_t>(rows_.size(1)) * sizeof(float);
    for (std::size_t i = 0; i < samples.size(); ++i) {
        records.append(reinterpret_cast<const char*>(&samples[i]), sizeof(samples[i]));
        records.append(static_cast<const char*>(rows.const_data_ptr()) + i * row_bytes, row_bytes);
    }
}

void FrozenOutputs::take(const std::string& records) {
    const auto row_bytes = static_cast<std::size_t>(rows_.size(1)) * sizeof(float);
    for (std::size_t at = 0; at < records.size(); at += sizeof(std::int64_t) + row_bytes) {
        std::int64_t sample = 0;
        std::memcpy(&sample, records.data() + at, sizeof(sample));
        std::memcpy(rows_.data_ptr<float>() + sample * rows_.size(1), records.data() + at + sizeof(sample), row_bytes);
        kept_count_ += kept_[static_cast<std::size_t>(sample)] ? 0 : 1;
        kept_[static_cast<std::size_t>(sample)] = true;
    }
}

models::FixedInput FrozenOutputs::rows(std::span<const std::int64_t> samples,
                                       std::span<const std::int64_t> positions) const {
    const std::vector<std::int64_t> indexes(samples.begin(), samples.end());
    return {rows_.index_select(0, torch::tensor(indexes, torch::kInt64)), {positions.begin(), positions.end()}};
}

}  // namespace strata::app
