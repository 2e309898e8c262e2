#include "core/new_folder.h"

#include <cstdio>
#include <system_error>

#include "core/error.h"
#include "core/file.h"

namespace strata {
namespace fs = std::filesystem;

NewFolder::NewFolder(const fs::path& path)
    : path_(path.has_filename() ? path : path.parent_path()), beside_(path_.string() + ".tmp") {
    std::error_code error;
    if (fs::exists(path_, error) && !(fs::is_directory(path_, error) && fs::is_empty(path_, error))) {
        user_error("{}: is there already; name another folder or remove it", path_.string());
    }
    fs::remove_all(beside_, error);
    fs::create_directories(beside_, error);
    if (error) user_error("{}: the folder cannot be made: {}", beside_.string(), error.message());
}

NewFolder::~NewFolder() {
    std::error_code ignored;
    if (!committed_) fs::remove_all(beside_, ignored);
}

void NewFolder::commit() {
    sync_path(beside_);
    if (std::rename(beside_.c_str(), path_.c_str()) != 0) {
        throw_errno(fmt::format("{}: cannot be renamed to {}", beside_.string(), path_.string()));
    }
    committed_ = true;
    sync_path(fs::absolute(path_).parent_path());
}

}  // namespace strata
