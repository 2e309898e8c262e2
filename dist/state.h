// The optimizer's state as the checkpoint sees it: groups of named parameters, and what else a run needs to go on.
//
// A group's logical content is its members one after the other, without padding. A rank holds the elements
// [begin, end) of it: its own slice. Pointers lead to the own slice and are borrowed. Nothing here knows of torch.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace strata::dist {

struct StateSegment {
    std::string name;
    std::vector<std::int64_t> shape;  // empty for a scalar
    std::int64_t offset = 0;          // elements from the start of the group
    std::int64_t elements = 0;
    bool decays = true;
};

struct StateGroup {
    std::string name;
    double multiplier = 1.0;
    double learning_rate = 0.0;
    double weight_decay = 0.0;
    double beta1 = 0.0;
    double beta2 = 0.0;
    double epsilon = 0.0;
    std::int64_t step = 0;  // updates this group has had: its bias correction counts from here
    bool frozen = false;
    std::vector<StateSegment> members;
    std::int64_t elements = 0;
    std::int64_t begin = 0;  // own slice, logical elements; begin == end where this rank has none
    std::int64_t end = 0;
    // Each leads to end - begin elements; null where the group holds no such state (frozen, SGD without momentum).
    float* master = nullptr;
    float* exp_avg = nullptr;
    float* exp_avg_sq = nullptr;
    // In place of `master`: weights that are bf16 and have none. A file has them widened, so they go through a
    // StateSnapshot.
    std::uint16_t* bf16_weights = nullptr;
};

/// The datasets of a group, in file order.
enum class StateKind { master, exp_avg, exp_avg_sq };
inline constexpr std::array<StateKind, 3> state_kinds{StateKind::master, StateKind::exp_avg, StateKind::exp_avg_sq};
std::string_view name_of(StateKind kind);
/// The group's pointer for a kind. Not of bf16 weights (STRATA_CHECK).
float*& pointer_of(StateGroup& group, StateKind kind);
const float* pointer_of(const StateGroup& group, StateKind kind);

struct TrainHeader {
    std::int64_t step = 0;
    double epoch = 0.0;
    int world_size = 1;
    std::string stage;
    std::uint64_t plan_hash = 0;
    std::uint64_t update_hash = 0;
    std::string effective_config;  // TOML
    std::string provenance;        // JSON: versions, host, time
    std::string train;             // JSON: data cursor, seeds, schedule position, history, best metric
    std::string model_fingerprint;
};

/// "30522x384", "scalar" for an empty shape; and back (empty optional if it is neither).
std::string shape_text(const std::vector<std::int64_t>& shape);
bool parse_shape(std::string_view text, std::vector<std::int64_t>& shape);

}  // namespace strata::dist
