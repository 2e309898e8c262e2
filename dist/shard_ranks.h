// Which ranks share a copy of the optimizer state: all of them, or those of each host.
//
// With a copy on each host, what has to wait for the whole update (the gathers) stays inside a host, and only the sums
// of the own slices travel between hosts, under the backward pass (MiCS: arXiv 2205.00119; PyTorch's hybrid sharding).
// The world's communicator stays for what concerns all ranks alike: norms, the loss, messages.
#pragma once

#include <memory>
#include <vector>

#include "dist/communicator.h"

namespace strata::dist {

/// Ranks on each host. AgreedUserError naming the hosts where they differ; AgreedSystemError where two hosts cannot be
/// told apart by their names. Collective.
int ranks_of_each_host(Communicator& world);

class ShardRanks {
  public:
    /// One copy, over all ranks. Keeps a reference.
    ShardRanks(Communicator& world) : world_(&world) {}  // NOLINT(google-explicit-constructor)

    /// A copy on each host; ranks of equal place in their hosts own the same slices. Collective.
    static ShardRanks by_host(Communicator& world);
    /// A copy among each `owners` ranks that follow one another: as if these were hosts. Collective.
    static ShardRanks by_block(Communicator& world, int owners);

    Communicator& world() const { return *world_; }
    /// The ranks of this rank's copy.
    Communicator& owners() const { return owners_ ? *owners_ : *world_; }
    /// The ranks that own the same slices as this one, a rank of each copy; null where there is but one copy.
    Communicator* copies() const { return copies_.get(); }

    int owner() const { return owners().rank(); }
    int copy() const { return copies_ ? copies_->rank() : 0; }
    int copy_count() const { return copies_ ? copies_->size() : 1; }

    /// Each of them once.
    std::vector<Communicator*> all() const;

    /// Of all of them together.
    TrafficCounters traffic() const;

  private:
    ShardRanks(Communicator& world, int copy, int owner);

    Communicator* world_;
    std::shared_ptr<Communicator> owners_, copies_;  // null: the world, and nobody
};

}  // namespace strata::dist
