// A report: one HTML page that needs nothing but itself.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace strata::app::report {

/// The page over run directories, in their order. No script but a small one of its own, without which it reads as well;
/// nothing from outside. Throws UserError as read_run does.
std::string report_page(const std::vector<std::filesystem::path>& folders);

}  // namespace strata::app::report
