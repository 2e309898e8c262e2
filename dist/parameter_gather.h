// Updated slices on their way to all owners of a copy, while other work goes on.
//
// Slices leave in buckets of equal bytes, a piece of one large group or many small groups whole, from the input's side
// on: the order in which the next forward pass reads them. Few are under way at once, since several pieces in one
// message take scratch memory; the next one starts where one is waited for. So all ranks must wait for all of it
// before they start another operation that not every rank starts from a forward pass.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "dist/buckets.h"
#include "dist/communicator.h"
#include "dist/group_storage.h"
#include "dist/shard_ranks.h"

namespace strata::dist {

class ParameterGather {
  public:
    /// Keeps a reference. `bucket_bytes`: of all owners together.
    ParameterGather(GroupStorage& storage, ShardRanks ranks, std::int64_t bucket_bytes);

    /// All groups, or those that learn. Waits for what is under way still. Collective.
    void start(bool live_only);

    /// Returns when the group's parameters are complete, as far as a gather was started for them.
    void wait_for(std::size_t group);
    void wait();

    /// What this rank will send for buckets that have not started.
    Traffic unsent() const;

  private:
    void start_next();
    void wait_for_oldest();

    GroupStorage& storage_;
    ShardRanks ranks_;
    std::int64_t bucket_bytes_;
    std::vector<std::size_t> groups_;  // that are gathered, in order
    std::vector<PartedView> parts_;    // theirs
    std::vector<Bucket> buckets_;
    std::size_t next_ = 0;  // the first bucket that has not started
    std::size_t done_ = 0;  // buckets that are complete
    std::deque<Pending> under_way_;
};

}  // namespace strata::dist
