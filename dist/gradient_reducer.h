// Brings gradients to their owners while the backward pass makes them.
//
// Gradients leave in buckets of equal bytes, a piece of one large group or many small groups whole; a bucket is
// complete when every parameter that lies in it, in any rank's part, has its gradient. Buckets are started in one order
// on all ranks, from the head's side on and, within a group, from the end of the parts, which is the order in which
// backward completes them; what is not complete at the end is started then. The backward pass is also what moves
// messages on: MPI has no thread of its own.
//
// Stage 1: gradients add up in the storage's arena; the last micro-batch's backward reduces them in place, and each own
// slice ends up with its sum over ranks, there or in the sums that the plan keeps. Stage 2: after every backward pass
// each group's gradients are taken from the model, put into scratch memory, reduced, and added to the own slices' sums,
// where the step's first replaces what lies there; scratch in use at once is bounded (optim::gradient_scratch_bytes),
// since a group that needs more waits for the oldest. Sums have the order of micro-batches and ranks (communicator.h).
//
// Where each host has a copy of the optimizer state (shard_ranks.h), owners are those of a host, and at the step's last
// micro-batch a bucket that has come to its owners goes on: their sums, in fp32, are added to those of the other
// copies' owners, in the order of buckets, again while backward runs.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "dist/buckets.h"
#include "dist/communicator.h"
#include "dist/group_storage.h"
#include "dist/shard_ranks.h"

namespace torch::autograd {
struct Node;
}

namespace strata::dist {

struct ReducerOptions {
    std::int64_t bucket_bytes = 0;  ///< of all ranks together
    bool overlap = true;            ///< false: everything leaves when backward is over
};

class GradientReducer {
  public:
    /// Keeps a reference to the storage.
    GradientReducer(const optim::Plan& plan, GroupStorage& storage, ShardRanks ranks, ReducerOptions options);
    ~GradientReducer();
    GradientReducer(const GradientReducer&) = delete;
    GradientReducer& operator=(const GradientReducer&) = delete;

    /// The backward pass of one micro-batch's loss; undefined on a rank that has none while others do. Collective where
    /// gradients leave: at the step's `last` micro-batch, under stage 2 at each.
    void backward(const torch::Tensor& loss, bool last);

    /// Starts what has not left, and waits for all. Under stage 1, if no backward() was the last, reduces all there is:
    /// for whoever ran backward passes without this class. Ends the step.
    void finish();

    /// Whether nothing leaves before finish(), which then makes the same calls at each step: it can be captured.
    bool all_in_finish() const { return stage_ == 1 && !options_.overlap; }
    /// In place of finish(), where what it starts was replayed.
    void finish_replayed();

    /// Buckets started before their backward pass had ended, since the last finish().
    std::int64_t started_early() const { return started_early_; }

  private:
    class Hook;
    struct Source {  // a parameter's gradient
        GroupStorage::LiveParameter place;
        std::shared_ptr<torch::autograd::Node> accumulator;
        std::uintptr_t hook = 0;
        std::size_t home = 0;                   ///< the first source of its place: itself, or the tensor's other name
        bool arrived = false;                   ///< in this backward pass
        std::vector<std::size_t> buckets = {};  ///< that hold some of it
        bool filled = false;                    ///< a home's: its place in the scratch holds this pass's gradient
    };
    struct Part {  // a live group
        std::size_t group = 0;
        std::vector<std::size_t> sources;
        std::size_t on_its_way = 0;  ///< buckets that hold a piece of it and are not done
        torch::Tensor scratch;       ///< stage 2
    };
    struct UnderWay {
        Pending pending;
        std::size_t bucket = 0;
    };

    void lay_out();
    void note_sources(std::size_t bucket);
    void forget_layout();
    void begin();
    void arrive(std::size_t source);
    void take(Source& source, Part& part);
    void start_ready(bool all);
    void start(std::size_t bucket);
    void wait_for_oldest();
    void wait_for_all();
    void cross(std::size_t bucket);
    void end_crossing();
    BufferView own_sums(const BucketPiece& piece);
    void move_on();
    torch::Tensor& scratch_of(Part& part);
    void release(Part& part);
    void fill_gaps(Part& part);

    int stage_;
    bool keeps_sums_;
    GroupStorage& storage_;
    ShardRanks ranks_;
    ReducerOptions options_;
    optim::ComputeType type_;  // that gradients leave in
    std::int64_t layout_ = 0;  // the storage's, when the following were made
    std::vector<Source> sources_;
    std::vector<Part> parts_;           // the head's side first
    std::vector<std::size_t> part_of_;  // of a group
    std::vector<Bucket> buckets_;
    std::vector<std::size_t> needed_;    // sources that lie in each bucket
    std::vector<std::size_t> missing_;   // those of them that have not arrived
    std::vector<torch::Tensor> free_;    // scratch to be used again, in host memory
    std::int64_t scratch_elements_ = 0;  // in use
    std::deque<UnderWay> under_way_;
    std::deque<Pending> crossings_;  // buckets' own sums on their way to the other copies
    std::size_t next_bucket_ = 0;
    bool active_ = false;   // a backward pass whose gradients leave is running
    bool crosses_ = false;  // what is under way goes on to the other copies
    bool ended_ = false;    // the step's last backward pass has been
    std::int64_t started_early_ = 0;
};

}  // namespace strata::dist
