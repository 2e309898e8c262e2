// What the kernel says this process has taken: memory and processor time.
#pragma once

#include <cstdint>

namespace strata::app {

/// The most bytes that were resident since the last call of forget_peak(), or since the process began where the kernel
/// does not let it be forgotten.
std::int64_t peak_resident_bytes();
void forget_peak();

/// Pages that had to be mapped on first touch since the process began: memory that comes and goes with the system.
std::int64_t page_faults();

/// Of all its threads, since it began.
double processor_seconds();

}  // namespace strata::app
