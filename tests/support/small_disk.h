// A disk that a test can fill, spoil and mend.
#pragma once

#include <sys/mount.h>

#include <filesystem>
#include <string>
#include <utility>

namespace strata::testing_support {

/// A tmpfs at `path`, which is made where it is missing; gone with its object. Only root may mount one.
class SmallDisk {
  public:
    /// size: as in mount(8), "8m".
    SmallDisk(std::filesystem::path path, const std::string& size) : path_(std::move(path)) {
        std::filesystem::create_directories(path_);
        mounted_ = ::mount("tmpfs", path_.c_str(), "tmpfs", 0, ("size=" + size).c_str()) == 0;
    }
    ~SmallDisk() {
        if (mounted_) ::umount2(path_.c_str(), MNT_DETACH);
    }
    SmallDisk(const SmallDisk&) = delete;
    SmallDisk& operator=(const SmallDisk&) = delete;

    bool mounted() const { return mounted_; }
    const std::filesystem::path& path() const { return path_; }
    /// flags: MS_RDONLY, or 0 to undo it. False while a file is open for writing.
    bool remount(unsigned long flags) const {
        return ::mount("tmpfs", path_.c_str(), nullptr, MS_REMOUNT | flags, nullptr) == 0;
    }

  private:
    std::filesystem::path path_;
    bool mounted_ = false;
};

inline constexpr const char* no_small_disk = "mounting a small tmpfs is not permitted here";

}  // namespace strata::testing_support
