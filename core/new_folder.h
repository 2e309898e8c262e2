// A folder that is whole or not there.
#pragma once

#include <filesystem>

namespace strata {

/// A folder that is filled beside its name (NAME.tmp) and renamed when it is whole. What is not committed is removed.
class NewFolder {
  public:
    /// UserError where `path` has something in it already, or its parent cannot be made.
    explicit NewFolder(const std::filesystem::path& path);
    ~NewFolder();
    NewFolder(const NewFolder&) = delete;
    NewFolder& operator=(const NewFolder&) = delete;

    /// Where to write until commit().
    const std::filesystem::path& path() const { return beside_; }
    /// Syncs the folder and renames it; its files are synced by whoever wrote them. Errors as throw_errno.
    void commit();

  private:
    std::filesystem::path path_;
    std::filesystem::path beside_;
    bool committed_ = false;
};

}  // namespace strata
