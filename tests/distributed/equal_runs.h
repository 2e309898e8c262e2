// Whether two runs left the same behind, bit for bit.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "dist/state_file.h"
#include "tests/distributed/job.h"

namespace strata::testing_support {

/// A dataset whole.
std::vector<float> values_of(const dist::StateFile& file, std::size_t group, dist::StateKind kind);

void expect_success(const JobResult& job);

/// Groups, steps, weights and moments of two checkpoints.
void expect_equal_state(const std::filesystem::path& a, const std::filesystem::path& b);

std::string bytes_of(const std::filesystem::path& path);

/// Logged values less what the clock says.
std::vector<nlohmann::json> history(const std::filesystem::path& log);

/// Two runs of 20 updates: final model, logs, results, and the state of the last checkpoint.
void expect_equal_runs(const std::filesystem::path& a, const std::filesystem::path& b);

}  // namespace strata::testing_support
