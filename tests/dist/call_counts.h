// What a piece of code asks of MPI and of OpenMP, counted where the calls are made: MPI's profiling interface, and
// libgomp's entry for parallel regions. Linking call_counts.cpp into a test program is all it takes.
#pragma once

#include <cstdint>
#include <ostream>

namespace strata::dist::testing {

struct CallCounts {
    std::int64_t messages = 0;          ///< point to point, sent and received
    std::int64_t collectives = 0;       ///< blocking or not
    std::int64_t waits = 0;             ///< for either: where the host stands still, blocking collectives included
    std::int64_t parallel_regions = 0;  ///< the processor's launches: one a pass over all elements

    CallCounts operator-(const CallCounts& earlier) const {
        return {messages - earlier.messages, collectives - earlier.collectives, waits - earlier.waits,
                parallel_regions - earlier.parallel_regions};
    }
    friend bool operator==(const CallCounts&, const CallCounts&) = default;
};

inline void PrintTo(const CallCounts& counts, std::ostream* out) {
    *out << counts.messages << " messages, " << counts.collectives << " collectives, " << counts.waits << " waits, "
         << counts.parallel_regions << " parallel regions";
}

/// Of this process since its start.
CallCounts call_counts();

}  // namespace strata::dist::testing
