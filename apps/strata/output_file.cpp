#include "apps/strata/output_file.h"

#include <filesystem>

#include "core/error.h"

namespace strata::app {

namespace fs = std::filesystem;

void require_folder_of(const std::string& file, const char* option) {
    if (file.empty()) return;
    const fs::path folder = fs::absolute(file).parent_path();
    if (!fs::is_directory(folder)) user_error("--{} {}: there is no folder {}", option, file, folder.string());
    if (fs::is_directory(file)) user_error("--{} {}: is a folder; name a file", option, file);
}

}  // namespace strata::app
