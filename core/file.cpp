#include "core/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "core/error.h"

namespace strata {
namespace {

void write_all(int fd, const void* data, std::size_t size, const std::filesystem::path& path) {
    const char* from = static_cast<const char*>(data);
    while (size > 0) {
        const ssize_t written = ::write(fd, from, size);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) throw_errno(fmt::format("{}: cannot be written", path.string()));
        from += written;
        size -= static_cast<std::size_t>(written);
    }
}

}  // namespace

Descriptor::~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
}

MappedFile::MappedFile(const std::filesystem::path& path) : path_(path) {
    const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (file.get() < 0) user_error("{}: cannot be read: {}", path.string(), std::strerror(errno));
    struct stat info {};
    if (::fstat(file.get(), &info) != 0) throw_errno(path.string());
    if (S_ISDIR(info.st_mode)) user_error("{}: is a folder, expected a file", path.string());
    size_ = static_cast<std::size_t>(info.st_size);
    if (size_ == 0) return;
    void* mapped = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.get(), 0);
    if (mapped == MAP_FAILED) throw_errno(fmt::format("{}: cannot be mapped", path.string()));
    data_ = static_cast<const std::byte*>(mapped);
}

MappedFile::~MappedFile() {
    if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)), data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
    std::swap(path_, other.path_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
}

std::string read_file(const std::filesystem::path& path) {
    return std::string(MappedFile(path).text());
}

AtomicFile::AtomicFile(const std::filesystem::path& path)
    : path_(path),
      beside_(path.string() + ".tmp"),
      file_(::open(beside_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)) {
    if (file_.get() < 0) throw_errno(fmt::format("{}: cannot be written", beside_.string()));
}

AtomicFile::~AtomicFile() {
    if (!committed_) ::unlink(beside_.c_str());
}

void AtomicFile::write(const void* data, std::size_t size) {
    write_all(file_.get(), data, size, beside_);
}

void AtomicFile::commit() {
    if (::fsync(file_.get()) != 0) throw_errno(fmt::format("{}: cannot be synced", beside_.string()));
    if (::rename(beside_.c_str(), path_.c_str()) != 0)
        throw_errno(fmt::format("{}: cannot be renamed", beside_.string()));
    committed_ = true;
}

void write_file_atomically(const std::filesystem::path& path, std::string_view content) {
    AtomicFile file(path);
    file.write(content.data(), content.size());
    file.commit();
}

void append_to_file(const std::filesystem::path& path, std::string_view content) {
    const Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
    if (file.get() < 0) throw_errno(fmt::format("{}: cannot be written", path.string()));
    write_all(file.get(), content.data(), content.size(), path);
}

void sync_path(const std::filesystem::path& path) {
    const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (file.get() < 0 || ::fsync(file.get()) != 0) throw_errno(fmt::format("{}: cannot be synced", path.string()));
}

std::size_t free_bytes(const std::filesystem::path& path) {
    struct statvfs info {};
    if (::statvfs(path.c_str(), &info) != 0) throw_errno(fmt::format("{}: free space cannot be read", path.string()));
    return static_cast<std::size_t>(info.f_bavail) * info.f_frsize;
}

}  // namespace strata
