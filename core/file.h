// Files as Strata needs them: whole reads, read-only maps, writes that are complete or absent.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace strata {

/// The whole file. Throws UserError, naming the file, when it is missing, a folder or unreadable.
std::string read_file(const std::filesystem::path& path);

/// An open file, closed when it goes.
class Descriptor {
  public:
    explicit Descriptor(int fd) : fd_(fd) {}
    ~Descriptor();
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    int get() const { return fd_; }

  private:
    int fd_;
};

/// A file that is written beside itself and renamed when it is whole: after a crash the old content or the new is
/// there, never a part. What is not committed is removed. Errors as throw_errno, naming the file.
class AtomicFile {
  public:
    explicit AtomicFile(const std::filesystem::path& path);
    ~AtomicFile();
    AtomicFile(const AtomicFile&) = delete;
    AtomicFile& operator=(const AtomicFile&) = delete;

    void write(const void* data, std::size_t size);
    /// Syncs and renames.
    void commit();

  private:
    std::filesystem::path path_;
    std::filesystem::path beside_;
    Descriptor file_;
    bool committed_ = false;
};

/// The same for content that is in memory as a whole.
void write_file_atomically(const std::filesystem::path& path, std::string_view content);

/// Adds to the end of a file, which is made if there is none. Errors as throw_errno, naming the file.
void append_to_file(const std::filesystem::path& path, std::string_view content);

/// Flushes a file's or a folder's content to the disk. Errors as throw_errno.
void sync_path(const std::filesystem::path& path);

/// Bytes that an unprivileged writer may still put on the file system that holds `path`.
std::size_t free_bytes(const std::filesystem::path& path);

/// A read-only memory map of a whole file; unmapped when it goes. Movable, not copyable.
class MappedFile {
  public:
    /// Throws UserError when the file is missing or unreadable. An empty file gives an empty span.
    explicit MappedFile(const std::filesystem::path& path);
    ~MappedFile();
    MappedFile(MappedFile&& other) noexcept;
    MappedFile& operator=(MappedFile&& other) noexcept;
    MappedFile(const MappedFile&) = delete;
    MappedFile& operator=(const MappedFile&) = delete;

    std::span<const std::byte> bytes() const { return {data_, size_}; }
    std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }
    const std::filesystem::path& path() const { return path_; }

  private:
    std::filesystem::path path_;
    const std::byte* data_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace strata
