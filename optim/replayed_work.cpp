#include "optim/replayed_work.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "core/error.h"

namespace strata::optim {

ReplayedWork::Way ReplayedWork::run(std::int64_t key, const std::vector<std::int64_t>& baked_in,
                                    const std::function<void()>& work) {
    if (baked_in != baked_in_) {
        for (const Entry& entry : entries_) counts_.dropped += entry.recording ? 1 : 0;
        entries_.clear();
        baked_in_ = baked_in;
    }
    Entry& entry = visit(key);
    if (entry.recording) {
        entry.recording->replay();
        ++counts_.replayed;
        return Way::replayed;
    }
    if (entry.visits <= limits_.direct_first) {
        work();
        ++counts_.direct;
        return Way::direct;
    }
    make_room();
    std::unique_ptr<Recording> recording = make_();
    try {
        recording->record(work);
    } catch (const SystemError& error) {
        system_error("a step's work cannot be captured in a CUDA graph: {}; train with --cuda_graph false",
                     error.what());
    }
    entry.recording = std::move(recording);
    entry.recording->replay();
    ++counts_.recorded;
    return Way::recorded;
}

/// The key's entry, at the front.
ReplayedWork::Entry& ReplayedWork::visit(std::int64_t key) {
    const auto found = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.key == key; });
    if (found == entries_.end()) {
        entries_.push_front({.key = key, .visits = 0, .recording = nullptr});
    } else {
        entries_.splice(entries_.begin(), entries_, found);
    }
    ++entries_.front().visits;
    return entries_.front();
}

/// For one more recording. What has been direct so far is only a count, and stays.
void ReplayedWork::make_room() {
    const auto has_one = [](const Entry& entry) { return entry.recording != nullptr; };
    if (static_cast<std::size_t>(std::count_if(entries_.begin(), entries_.end(), has_one)) < limits_.recordings) return;
    const auto oldest = std::find_if(entries_.rbegin(), entries_.rend(), has_one);
    oldest->recording.reset();
    oldest->visits = limits_.direct_first;  // no need to warm up again
    ++counts_.dropped;
}

}  // namespace strata::optim
