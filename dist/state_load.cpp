#include "dist/state_load.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "core/error.h"
#include "dist/agreement.h"

namespace strata::dist {
namespace {

using Kinds = std::array<bool, 3>;

bool has(const Kinds& kinds, StateKind kind) {
    return kinds[static_cast<std::size_t>(kind)];
}

bool is_moment(StateKind kind) {
    return kind != StateKind::master;
}

/// Where a parameter lies in the file.
struct Place {
    std::size_t group = 0;
    const StateSegment* segment = nullptr;
};

std::unordered_map<std::string, Place> places_in(const StateFile& file) {
    std::unordered_map<std::string, Place> places;
    for (std::size_t i = 0; i < file.groups().size(); ++i) {
        for (const StateSegment& segment : file.groups()[i].group.members) places[segment.name] = {i, &segment};
    }
    return places;
}

/// What each target group holds on any rank. A rank whose slice is empty may have no pointers to tell by.
std::vector<Kinds> held_anywhere(MpiCommunicator& communicator, std::span<const StateGroup> groups) {
    std::string own;
    for (const StateGroup& group : groups) {
        for (const StateKind kind : state_kinds) own.push_back(pointer_of(group, kind) != nullptr ? '1' : '0');
    }
    std::vector<Kinds> held(groups.size());
    for (const std::string& rank : communicator.all_gather_bytes(own)) {
        STRATA_CHECK(rank.size() == own.size(), "ranks load into different numbers of groups");
        for (std::size_t i = 0; i < rank.size(); ++i) held[i / 3][i % 3] = held[i / 3][i % 3] || rank[i] == '1';
    }
    return held;
}

/// The names of the kinds that are in `a` and not in `b`, moments only: "exp_avg, exp_avg_sq".
std::string moments_only_in(const Kinds& a, const Kinds& b) {
    std::vector<std::string_view> names;
    for (const StateKind kind : state_kinds) {
        if (is_moment(kind) && has(a, kind) && !has(b, kind)) names.push_back(name_of(kind));
    }
    return fmt::format("{}", fmt::join(names, ", "));
}

/// Says what becomes of one parameter that is in both.
void report_member(const std::string& name, const Kinds& stored, const Kinds& held, StateLoadReport& report) {
    if (const std::string dropped = moments_only_in(stored, held); !dropped.empty()) {
        report.ignored.push_back({name, fmt::format("{} in the checkpoint, not kept by this run", dropped)});
    }
    const std::string fresh = moments_only_in(held, stored);
    const bool weights_missing = has(held, StateKind::master) && !has(stored, StateKind::master);
    if (!fresh.empty())
        report.started_fresh.push_back({name, fmt::format("no {} in the checkpoint", fresh)});
    else if (weights_missing)
        report.started_fresh.push_back({name, "no master weights in the checkpoint"});
    else if (moments_only_in(stored, held).empty())
        report.carried.push_back(name);
}

/// The step a group goes on from, given the steps its members bring.
std::int64_t agreed_step(const StateGroup& group, const std::map<std::int64_t, std::set<std::string>>& steps,
                         StateLoadReport& report) {
    if (steps.empty()) return 0;
    const std::int64_t largest = steps.rbegin()->first;
    if (steps.size() > 1) {
        std::vector<std::string> parts;
        for (const auto& [step, sources] : steps)
            parts.push_back(fmt::format("{} in {}", step, fmt::join(sources, ", ")));
        report.mixed_steps.push_back({group.name, fmt::format("its parameters had step counts {}; goes on from {}",
                                                              fmt::join(parts, "; "), largest)});
    }
    return largest;
}

/// Pieces to read, by file group and kind.
using Reads = std::map<std::pair<std::size_t, StateKind>, std::vector<StatePiece>>;

/// Adds the part of `member` that lies in the own slice of `group`.
void add_reads(StateGroup& group, const StateSegment& member, const Place& place, const Kinds& stored, Reads& reads) {
    const std::int64_t begin = std::max(group.begin, member.offset);
    const std::int64_t end = std::min(group.end, member.offset + member.elements);
    if (begin >= end) return;
    const std::int64_t shift = place.segment->offset - member.offset;
    for (const StateKind kind : state_kinds) {
        float* own = pointer_of(group, kind);
        if (own == nullptr || !has(stored, kind)) continue;
        reads[{place.group, kind}].push_back({begin + shift, end + shift, own + (begin - group.begin)});
    }
}

class Loader {
  public:
    Loader(const StateFile& file, std::span<StateGroup> groups, std::vector<Kinds> held,
           const std::string& foreign_moments)
        : file_(file),
          groups_(groups),
          held_(std::move(held)),
          foreign_moments_(foreign_moments),
          places_(places_in(file)) {}

    StateLoadReport run() {
        // Everything is planned, and shapes are refused, before the first element of the target changes.
        for (std::size_t i = 0; i < groups_.size(); ++i) plan_group(groups_[i], held_[i]);
        list_unclaimed();
        for (std::size_t i = 0; i < groups_.size(); ++i) {
            groups_[i].step = steps_[i];
            for (const StateKind kind : state_kinds) {
                float* own = pointer_of(groups_[i], kind);
                if (is_moment(kind) && own != nullptr) std::fill(own, own + (groups_[i].end - groups_[i].begin), 0.0F);
            }
        }
        for (auto& [where, pieces] : reads_) file_.read(where.first, where.second, std::move(pieces));
        return std::move(report_);
    }

  private:
    void plan_group(StateGroup& group, const Kinds& held) {
        const bool keeps_moments = has(held, StateKind::exp_avg) || has(held, StateKind::exp_avg_sq);
        std::map<std::int64_t, std::set<std::string>> steps;
        std::vector<std::string> sources;  // in the order of their first members here
        for (const StateSegment& member : group.members) {
            claimed_.insert(member.name);
            const auto found = places_.find(member.name);
            if (found == places_.end()) {
                report_.started_fresh.push_back({member.name, "not in the checkpoint"});
                continue;
            }
            const Place& place = found->second;
            const StoredGroup& source = file_.groups()[place.group];
            if (place.segment->shape != member.shape) {
                user_error(
                    "{}: parameter {} has shape {} there and {} in this model: this checkpoint is from another model",
                    file_.path().string(), member.name, shape_text(place.segment->shape), shape_text(member.shape));
            }
            if (std::find(sources.begin(), sources.end(), source.group.name) == sources.end())
                sources.push_back(source.group.name);
            const Kinds usable = usable_of(source);
            bool brings_moments = false;
            for (const StateKind kind : state_kinds) {
                brings_moments = brings_moments || (is_moment(kind) && has(held, kind) && has(usable, kind));
            }
            if (brings_moments || !keeps_moments) steps[source.group.step].insert(source.group.name);
            if (keeps_moments && usable != source.present)
                report_.started_fresh.push_back({member.name, foreign_moments_});
            else
                report_member(member.name, source.present, held, report_);
            add_reads(group, member, place, usable, reads_);
        }
        if (!sources.empty() && sources != std::vector{group.name})
            report_.regrouped.push_back({group.name, fmt::format("made of {}", fmt::join(sources, ", "))});
        steps_.push_back(agreed_step(group, steps, report_));
    }

    /// What the file has of a group that this run can go on from.
    Kinds usable_of(const StoredGroup& source) const {
        Kinds usable = source.present;
        if (foreign_moments_.empty()) return usable;
        for (const StateKind kind : state_kinds) {
            if (is_moment(kind)) usable[static_cast<std::size_t>(kind)] = false;
        }
        return usable;
    }

    void list_unclaimed() {
        for (const StoredGroup& stored : file_.groups()) {
            for (const StateSegment& segment : stored.group.members) {
                if (!claimed_.contains(segment.name)) report_.ignored.push_back({segment.name, "not in this run"});
            }
        }
    }

    const StateFile& file_;
    std::span<StateGroup> groups_;
    std::vector<Kinds> held_;
    const std::string& foreign_moments_;
    std::unordered_map<std::string, Place> places_;
    std::unordered_set<std::string> claimed_;
    std::vector<std::int64_t> steps_;
    Reads reads_;
    StateLoadReport report_;
};

}  // namespace

StateLoadReport load_group_slices(MpiCommunicator& communicator, const StateFile& file, std::span<StateGroup> groups,
                                  const std::string& foreign_moments) {
    std::vector<Kinds> held = held_anywhere(communicator, groups);
    return collectively(communicator, "loading the checkpoint",
                        [&] { return Loader(file, groups, std::move(held), foreign_moments).run(); });
}

}  // namespace strata::dist
