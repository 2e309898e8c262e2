#include "dist/gradient_reducer.h"

#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace strata::dist {
namespace {

/// Operations of a kind under way at once: few enough that the messages' memory stays small, enough that the backward
/// pass seldom waits for a slow link.
constexpr std::size_t most_under_way = 16;

}  // namespace

/// Called by autograd when a parameter's gradient of this pass is there: after its accumulation node.
class GradientReducer::Hook final : public torch::autograd::FunctionPostHook {
  public:
    Hook(GradientReducer& reducer, std::size_t source) : reducer_(reducer), source_(source) {}
    torch::autograd::variable_list operator()(const torch::autograd::variable_list& outputs,
                                              const torch::autograd::variable_list& /*inputs*/) override {
        reducer_.arrive(source_);
        return outputs;
    }

  private:
    GradientReducer& reducer_;
    std::size_t source_;
};

GradientReducer::GradientReducer(const optim::Plan& plan, GroupStorage& storage, ShardRanks ranks,
                                 ReducerOptions options)
    : stage_(plan.zero_stage),
      keeps_sums_(plan.keeps_sums()),
      storage_(storage),
      ranks_(std::move(ranks)),
      options_(options),
      type_(plan.gradient_type()) {}

GradientReducer::~GradientReducer() {
    forget_layout();
}

void GradientReducer::forget_layout() {
    for (Source& source : sources_) source.accumulator->del_post_hook(source.hook);
    sources_.clear();
    parts_.clear();
    buckets_.clear();
    needed_.clear();
    free_.clear();
}

/// Anew whenever groups have frozen or thawed.
void GradientReducer::lay_out() {
    if (layout_ == storage_.layout()) return;
    forget_layout();
    layout_ = storage_.layout();
    part_of_.assign(storage_.groups(), 0);
    std::vector<std::int64_t> counts;
    for (std::size_t group = storage_.groups(); group-- > 0;) {
        if (!storage_.live(group)) continue;
        part_of_[group] = parts_.size();
        parts_.push_back({.group = group, .sources = {}, .on_its_way = 0, .scratch = {}});
        counts.push_back(storage_.parameter_parts(group).count);
    }
    buckets_ = make_buckets(counts, options_.bucket_bytes / ranks_.owners().size() / bytes_of(type_));
    for (const GroupStorage::LiveParameter& place : storage_.live_parameters()) {
        std::vector<std::size_t>& neighbours = parts_[part_of_[place.group]].sources;
        const auto same_place = [&](std::size_t other) { return sources_[other].place.offset == place.offset; };
        const auto home = std::find_if(neighbours.begin(), neighbours.end(), same_place);
        Source source;
        source.place = place;
        source.home = home == neighbours.end() ? sources_.size() : *home;
        source.accumulator = torch::autograd::impl::grad_accumulator(source.place.parameter);
        source.hook = source.accumulator->add_post_hook(std::make_unique<Hook>(*this, sources_.size()));
        neighbours.push_back(sources_.size());
        sources_.push_back(std::move(source));
    }
    // Of a group, the pieces at the end of the parts go first.
    for (Bucket& bucket : buckets_) {
        for (BucketPiece& piece : bucket) piece.begin = counts[piece.part] - piece.begin - piece.count;
    }
    needed_.assign(buckets_.size(), 0);
    for (std::size_t bucket = 0; bucket < buckets_.size(); ++bucket) note_sources(bucket);
}

/// Whose gradients lie in the bucket, in whatever rank's part.
void GradientReducer::note_sources(std::size_t bucket) {
    for (const BucketPiece& piece : buckets_[bucket]) {
        const std::int64_t stride = storage_.parameter_parts(parts_[piece.part].group).stride;
        for (const std::size_t index : parts_[piece.part].sources) {
            Source& source = sources_[index];
            const std::int64_t begin = source.place.offset;
            const std::int64_t end = begin + source.place.parameter.numel();
            bool inside = false;
            for (int owner = 0; owner < ranks_.owners().size() && !inside; ++owner) {
                const std::int64_t first = owner * stride + piece.begin;
                inside = begin < first + piece.count && first < end;
            }
            if (!inside) continue;
            source.buckets.push_back(bucket);
            ++needed_[bucket];
        }
    }
}

void GradientReducer::backward(const torch::Tensor& loss, bool last) {
    lay_out();
    STRATA_CHECK(!ended_, "a backward pass after the step's last one");
    if (stage_ == 1 && !last) {
        if (loss.defined()) loss.backward();
        return;
    }
    wait_for_all();  // of the micro-batch before
    crosses_ = last && ranks_.copies() != nullptr;
    begin();
    if (loss.defined()) loss.backward();
    active_ = false;
    ended_ = last;
    if (last) return;  // finish() starts the rest: its time is the reduction's
    start_ready(true);
    storage_.sums_have_come();
}

void GradientReducer::begin() {
    for (Source& source : sources_) source.arrived = source.filled = false;
    for (const Bucket& bucket : buckets_) {
        for (const BucketPiece& piece : bucket) ++parts_[piece.part].on_its_way;
    }
    missing_ = needed_;
    next_bucket_ = 0;
    active_ = true;
}

void GradientReducer::finish() {
    lay_out();
    STRATA_CHECK(ended_ || stage_ == 1, "an update without a last backward pass");
    if (!ended_) {
        crosses_ = ranks_.copies() != nullptr;
        begin();
        active_ = false;
    }
    if (stage_ == 1) {
        for (const Source& source : sources_) storage_.settle_gradient(source.place.parameter);
    }
    start_ready(true);
    wait_for_all();
    ended_ = false;
    started_early_ = 0;
}

void GradientReducer::finish_replayed() {
    for (Part& part : parts_) part.on_its_way = 0;
    next_bucket_ = buckets_.size();
    ended_ = false;
    started_early_ = 0;
}

void GradientReducer::arrive(std::size_t index) {
    if (!active_) return;
    Source& source = sources_[index];
    Part& part = parts_[part_of_[source.place.group]];
    STRATA_CHECK(!source.arrived, "a gradient arrived twice in one backward pass");
    source.arrived = true;
    for (const std::size_t bucket : source.buckets) --missing_[bucket];
    if (stage_ == 2) {
        take(source, part);
    } else {
        storage_.settle_gradient(source.place.parameter);
    }
    if (!options_.overlap) return;
    start_ready(false);
    move_on();
}

/// What has arrived goes on; never waits.
void GradientReducer::move_on() {
    for (UnderWay& operation : under_way_) operation.pending.progress();
    while (!under_way_.empty() && under_way_.front().pending.ready() && crossings_.size() < most_under_way)
        wait_for_oldest();
    for (Pending& crossing : crossings_) crossing.progress();
    while (!crossings_.empty() && crossings_.front().ready()) end_crossing();
}

/// Moves a gradient out of the model. The first to come to a place is copied; another name of the same tensor is added.
void GradientReducer::take(Source& source, Part& part) {
    const torch::NoGradGuard no_grad;
    const torch::Tensor& parameter = source.place.parameter;
    torch::Tensor& grad = parameter.mutable_grad();
    torch::Tensor home = scratch_of(part).narrow(0, source.place.offset, parameter.numel()).view(parameter.sizes());
    const bool shared = std::exchange(sources_[source.home].filled, true);
    if (!grad.defined()) {
        if (!shared) home.zero_();
        return;
    }
    shared ? home.add_(grad) : home.copy_(grad);
    grad.reset();
}

/// Starts buckets in their order, as long as they are complete; at the end of a pass, all of them.
void GradientReducer::start_ready(bool all) {
    for (; next_bucket_ < buckets_.size(); ++next_bucket_) {
        if (!all && missing_[next_bucket_] > 0) return;
        if (!all) ++started_early_;
        start(next_bucket_);
    }
}

void GradientReducer::start(std::size_t index) {
    if (under_way_.size() == most_under_way) wait_for_oldest();
    std::vector<SummedParts> pieces;
    for (const BucketPiece& piece : buckets_[index]) {
        Part& part = parts_[piece.part];
        float* const into = keeps_sums_ ? storage_.gradient_sums(part.group) + piece.begin : nullptr;
        if (stage_ == 1) {
            pieces.push_back({view_of(piece, storage_.gradient_parts(part.group)), into, storage_.sums_hold()});
            continue;
        }
        if (missing_[index] > 0) fill_gaps(part);
        PartedView whole = storage_.parameter_parts(part.group);
        whole.data = scratch_of(part).data_ptr();
        whole.type = element_type(type_);
        pieces.push_back({view_of(piece, whole), into, storage_.sums_hold()});
    }
    under_way_.push_back({ranks_.owners().reduce_scatter_sum(pieces), index});
}

/// Parameters that took no part in the loss have zero gradients.
void GradientReducer::fill_gaps(Part& part) {
    torch::Tensor& scratch = scratch_of(part);
    for (const std::size_t index : part.sources) {
        const Source& source = sources_[index];
        if (std::exchange(sources_[source.home].filled, true)) continue;
        scratch.narrow(0, source.place.offset, source.place.parameter.numel()).zero_();
    }
}

void GradientReducer::wait_for_oldest() {
    UnderWay oldest = std::move(under_way_.front());
    under_way_.pop_front();
    oldest.pending.wait();
    if (crosses_) cross(oldest.bucket);
    for (const BucketPiece& piece : buckets_[oldest.bucket]) {
        Part& part = parts_[piece.part];
        if (--part.on_its_way == 0 && stage_ == 2) release(part);
    }
}

void GradientReducer::wait_for_all() {
    while (!under_way_.empty()) wait_for_oldest();
    while (!crossings_.empty()) end_crossing();
}

/// The own part of a piece, where its sum over this copy's ranks lies.
BufferView GradientReducer::own_sums(const BucketPiece& piece) {
    const std::size_t group = parts_[piece.part].group;
    float* sums = nullptr;
    if (keeps_sums_) {
        sums = storage_.gradient_sums(group);
    } else {
        const PartedView whole = storage_.gradient_parts(group);
        sums = static_cast<float*>(whole.data) + ranks_.owner() * whole.stride;
    }
    return {sums + piece.begin, piece.count, ElementType::float32, storage_.memory_kind()};
}

/// Starts a bucket's way to the other copies: one message, of many groups too.
void GradientReducer::cross(std::size_t bucket) {
    if (crossings_.size() == most_under_way) end_crossing();
    std::vector<BufferView> sums;
    for (const BucketPiece& piece : buckets_[bucket]) sums.push_back(own_sums(piece));
    crossings_.push_back(ranks_.copies()->all_reduce_sum(sums));
}

void GradientReducer::end_crossing() {
    Pending oldest = std::move(crossings_.front());
    crossings_.pop_front();
    oldest.wait();
}

/// A whole group's gradients; the padding at the end is zero.
torch::Tensor& GradientReducer::scratch_of(Part& part) {
    if (part.scratch.defined()) return part.scratch;
    const PartedView whole = storage_.parameter_parts(part.group);
    const std::int64_t size = whole.stride * ranks_.owners().size();
    const auto bytes = [this](std::int64_t elements) { return elements * bytes_of(type_); };
    while (!under_way_.empty() && bytes(scratch_elements_ + size) > optim::gradient_scratch_bytes) wait_for_oldest();
    const auto fits = [&](const torch::Tensor& tensor) { return tensor.numel() == size; };
    const auto found = std::find_if(free_.begin(), free_.end(), fits);
    if (found == free_.end()) {
        free_.clear();  // they would count on top
        const torch::Device device = sources_[part.sources.front()].place.parameter.device();
        part.scratch = torch::empty({size}, torch::TensorOptions(scalar_type(type_)).device(device));
    } else {
        part.scratch = std::move(*found);
        free_.erase(found);
    }
    scratch_elements_ += size;
    const std::int64_t content = storage_.elements(part.group);
    part.scratch.narrow(0, content, size - content).zero_();
    return part.scratch;
}

/// Kept for the next group of the same size, as long as all scratch stays in its bounds. On a GPU LibTorch's allocator
/// keeps it: what was given out in a capture is that graph's, and nothing from outside is in a graph.
void GradientReducer::release(Part& part) {
    const torch::Tensor scratch = std::exchange(part.scratch, torch::Tensor());
    scratch_elements_ -= scratch.numel();
    if (storage_.memory_kind() != Memory::host) return;
    std::int64_t held = scratch_elements_ + scratch.numel();
    for (const torch::Tensor& tensor : free_) held += tensor.numel();
    if (held * bytes_of(type_) <= optim::gradient_scratch_bytes) free_.push_back(scratch);
}

}  // namespace strata::dist
