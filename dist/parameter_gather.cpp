#include "dist/parameter_gather.h"

#include <utility>

namespace strata::dist {
namespace {

/// A few at once, so that the scratch memory they take stays small.
constexpr std::size_t most_under_way = 4;

}  // namespace

ParameterGather::ParameterGather(GroupStorage& storage, ShardRanks ranks, std::int64_t bucket_bytes)
    : storage_(storage), ranks_(std::move(ranks)), bucket_bytes_(bucket_bytes) {}

void ParameterGather::start(bool live_only) {
    wait();
    groups_.clear();
    parts_.clear();
    std::vector<std::int64_t> counts;
    for (std::size_t group = 0; group < storage_.groups(); ++group) {
        if (live_only && !storage_.live(group)) continue;
        groups_.push_back(group);
        parts_.push_back(storage_.parameter_parts(group));
        counts.push_back(parts_.back().count);
    }
    buckets_.clear();
    if (!parts_.empty()) {
        const std::int64_t element = bytes_of(parts_.front().type);
        buckets_ = make_buckets(counts, bucket_bytes_ / ranks_.owners().size() / element);
    }
    next_ = done_ = 0;
    while (next_ < buckets_.size() && under_way_.size() < most_under_way) start_next();
}

void ParameterGather::start_next() {
    std::vector<PartedView> pieces;
    for (const BucketPiece& piece : buckets_[next_]) pieces.push_back(view_of(piece, parts_[piece.part]));
    under_way_.push_back(ranks_.owners().all_gather(pieces));
    ++next_;
}

void ParameterGather::wait_for_oldest() {
    under_way_.front().wait();
    under_way_.pop_front();
    ++done_;
    if (next_ < buckets_.size()) start_next();
}

void ParameterGather::wait_for(std::size_t group) {
    while (done_ < buckets_.size() && groups_[buckets_[done_].front().part] <= group) wait_for_oldest();
    for (Pending& pending : under_way_) pending.progress();
}

Traffic ParameterGather::unsent() const {
    Traffic traffic{static_cast<std::int64_t>(buckets_.size() - next_), 0};
    for (std::size_t bucket = next_; bucket < buckets_.size(); ++bucket) {
        for (const BucketPiece& piece : buckets_[bucket]) {
            traffic.bytes += piece.count * (ranks_.owners().size() - 1) * bytes_of(parts_[piece.part].type);
        }
    }
    return traffic;
}

void ParameterGather::wait() {
    while (done_ < buckets_.size()) wait_for_oldest();
}

}  // namespace strata::dist
