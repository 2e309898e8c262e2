// A run's TensorBoard events: one file for each time it is started or goes on. Rank 0 writes it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>

#include "apps/strata/event_record.h"

namespace strata::app {

/// What the names of all event files begin with: TensorBoard finds them by it.
inline constexpr std::string_view event_file_prefix = "events.out.tfevents.";

class EventFile {
  public:
    /// Begins a file in `folder` whose name sorts behind those of the earlier ones, as readers take them in that order.
    /// Steps from `first_step` on that a killed run has left there are void. Errors as append_to_file's.
    EventFile(const std::filesystem::path& folder, std::int64_t first_step);

    /// Adds the numbers of one step, and hands them to the system at once.
    void append(std::int64_t step, std::span<const Scalar> scalars) const;

    const std::filesystem::path& path() const { return path_; }

  private:
    std::filesystem::path path_;
};

}  // namespace strata::app
