#include <fcntl.h>
#include <torch/torch.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "models/safetensors.h"
#include "models/safetensors_dtype.h"

namespace strata::models {
namespace {

/// core/file.h's write_file_atomically for content that is never in memory as a whole.
class AtomicStream {
  public:
    explicit AtomicStream(const std::filesystem::path& path)
        : path_(path),
          beside_(path.string() + ".tmp"),
          fd_(::open(beside_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)) {
        if (fd_ < 0) throw_errno(fmt::format("{}: cannot be written", beside_.string()));
    }
    ~AtomicStream() {
        if (fd_ < 0) return;
        ::close(fd_);
        ::unlink(beside_.c_str());
    }
    AtomicStream(const AtomicStream&) = delete;
    AtomicStream& operator=(const AtomicStream&) = delete;

    void write(const void* data, std::size_t size) {
        const char* from = static_cast<const char*>(data);
        while (size > 0) {
            const ssize_t written = ::write(fd_, from, size);
            if (written < 0 && errno == EINTR) continue;
            if (written < 0) throw_errno(fmt::format("{}: cannot be written", beside_.string()));
            from += written;
            size -= static_cast<std::size_t>(written);
        }
    }

    /// Until this returns there is no file under the final name, or the old one.
    void commit() {
        if (::fsync(fd_) != 0) throw_errno(fmt::format("{}: cannot be synced", beside_.string()));
        if (::rename(beside_.c_str(), path_.c_str()) != 0)
            throw_errno(fmt::format("{}: cannot be renamed", beside_.string()));
        ::close(fd_);
        fd_ = -1;
    }

  private:
    std::filesystem::path path_, beside_;
    int fd_;
};

std::string header_text(const std::vector<std::pair<std::string, torch::Tensor>>& tensors,
                        const std::map<std::string, std::string>& metadata) {
    nlohmann::ordered_json header;
    if (!metadata.empty()) header["__metadata__"] = metadata;
    std::uint64_t begin = 0;
    for (const auto& [name, tensor] : tensors) {
        const std::string_view dtype = dtype_name(tensor.scalar_type());
        STRATA_CHECK(!dtype.empty(), "tensor '{}' has a type that safetensors has not", name);
        STRATA_CHECK(!header.contains(name), "two tensors named '{}'", name);
        const std::uint64_t end = begin + tensor.nbytes();
        header[name] = {{"dtype", dtype}, {"shape", tensor.sizes().vec()}, {"data_offsets", {begin, end}}};
        begin = end;
    }
    std::string text = header.dump();
    text.resize((text.size() + 7) / 8 * 8, ' ');  // so that the data is aligned in a map of the file
    return text;
}

}  // namespace

void write_safetensors(const std::filesystem::path& path,
                       const std::vector<std::pair<std::string, torch::Tensor>>& tensors,
                       const std::map<std::string, std::string>& metadata) {
    const std::string header = header_text(tensors, metadata);
    AtomicStream stream(path);
    unsigned char length[8];
    for (std::size_t i = 0; i < sizeof(length); ++i) length[i] = static_cast<unsigned char>(header.size() >> (8 * i));
    stream.write(length, sizeof(length));
    stream.write(header.data(), header.size());
    for (const auto& [name, tensor] : tensors) {
        const torch::Tensor whole = tensor.detach().cpu().contiguous();
        stream.write(whole.const_data_ptr(), whole.nbytes());
    }
    stream.commit();
}

}  // namespace strata::models
