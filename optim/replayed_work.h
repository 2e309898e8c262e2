// A step's work for a device, done directly at first, then recorded and replayed, one recording for each shape.
//
// Work of one key must be the same calls each time but for what it reads from memory. What it bakes in besides (the
// layout of memory, which groups learn) is a list of numbers: when one changes, all recordings go. Of recordings that
// are kept, the least recently used goes first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <vector>

#include "optim/recording.h"

namespace strata::optim {

struct ReplayLimits {
    int direct_first = 2;        ///< visits of a key that run directly: libraries connect, memory grows to its size
    std::size_t recordings = 8;  ///< that are kept; each has memory of its own
};

struct ReplayCounts {
    std::int64_t direct = 0;
    std::int64_t recorded = 0;  ///< and replayed at once
    std::int64_t replayed = 0;
    std::int64_t dropped = 0;  ///< recordings

    bool operator==(const ReplayCounts&) const = default;
};

class ReplayedWork {
  public:
    using MakeRecording = std::function<std::unique_ptr<Recording>()>;

    explicit ReplayedWork(MakeRecording make, ReplayLimits limits = {}) : make_(std::move(make)), limits_(limits) {}

    enum class Way { direct, recorded, replayed };

    /// Has the device do `work`, and says how: where it was replayed, `work` was not called. SystemError that names the
    /// call where the work cannot be recorded.
    Way run(std::int64_t key, const std::vector<std::int64_t>& baked_in, const std::function<void()>& work);

    const ReplayCounts& counts() const { return counts_; }

  private:
    struct Entry {
        std::int64_t key = 0;
        int visits = 0;
        std::unique_ptr<Recording> recording;
    };

    Entry& visit(std::int64_t key);
    void make_room();

    MakeRecording make_;
    ReplayLimits limits_;
    std::vector<std::int64_t> baked_in_;
    std::list<Entry> entries_;  // the last used first
    ReplayCounts counts_;
};

}  // namespace strata::optim
