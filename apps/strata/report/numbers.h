// Numbers as a report writes them.
#pragma once

#include <string>

namespace strata::app::report {

/// Four digits at most and short ends: "0.6931", "1.25e-5", "12.5k", "3.2M"; "–" for what is no number.
std::string number_text(double value);

/// For the ticks of an axis: "2e-5", "0.05", "10k".
std::string tick_text(double value);

/// "1.24 s", "1:02:03".
std::string duration_text(double seconds);

}  // namespace strata::app::report
