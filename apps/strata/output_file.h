// Files that a command writes at its end.
#pragma once

#include <string>

namespace strata::app {

/// Throws UserError where `file`, which --`option` names (empty: none), could not be written, before the minutes that
/// its content takes.
void require_folder_of(const std::string& file, const char* option);

}  // namespace strata::app
