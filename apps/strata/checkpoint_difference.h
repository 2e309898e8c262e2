// What differs between two checkpoints: configuration, groups, and every element of weights and moments.
//
// Parameters are matched by name and element range, whatever groups they lie in and however many ranks wrote them. Both
// are read in blocks of 4 MiB, so the memory needed does not depend on the model.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "apps/strata/config_changes.h"
#include "dist/state.h"

namespace strata::app {

/// How one kind of state differs, of one parameter or summed over a group's.
struct StateDifference {
    std::int64_t elements = 0;
    std::int64_t unequal = 0;  ///< whose bits differ
    double largest = 0;        ///< |a − b|; NaN where a difference is none
    double squares = 0;        ///< sum of (a − b)²
    double reference = 0;      ///< sum of a²

    void add(double a, double b, bool same_bits);
    void add(const StateDifference& other);
    /// ‖a − b‖ / ‖a‖; 0 where nothing differs, infinity where all of a is 0.
    double relative() const;
};

struct DifferenceRow {
    std::string name;
    std::array<std::optional<StateDifference>, 3> states;  ///< by dist::StateKind; nothing unless both have it

    bool equal() const;
};

struct CheckpointDifference {
    std::vector<Change> configuration;      ///< that changes what is learned
    std::vector<Change> state;              ///< step, epoch, groups and their figures, what only one of them has
    std::vector<DifferenceRow> groups;      ///< of the first checkpoint
    std::vector<DifferenceRow> parameters;  ///< that both have, and the model's buffers, in the first one's order

    bool equal() const;
};

/// UserError where one is no checkpoint, SystemError where it is damaged.
CheckpointDifference compare_checkpoints(const std::filesystem::path& a, const std::filesystem::path& b);

/// For people; parameters that are equal are left out.
std::string difference_text(const CheckpointDifference& difference);
/// {"equal": …, "configuration": [{"key", "a", "b"}, …], "state": […], "groups": [{"name", "master": {"elements",
/// "unequal", "largest", "relative"}, …}, …], "parameters": […]}; what is not a finite number is null.
nlohmann::json difference_json(const CheckpointDifference& difference);

}  // namespace strata::app
