#include "data/idx.h"

#include <fcntl.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <memory>

#include "core/error.h"

namespace strata::data {
namespace {

constexpr std::uint8_t type_byte = 0x08;
constexpr std::uint8_t type_float = 0x0D;
constexpr std::int64_t most_bytes = std::int64_t{1} << 40;  // so that products of extents cannot overflow

std::string type_name(std::uint8_t type) {
    switch (type) {
        case 0x09:
            return "signed bytes";
        case 0x0B:
            return "16-bit integers";
        case 0x0C:
            return "32-bit integers";
        case 0x0E:
            return "64-bit floats";
        default:
            return fmt::format("type {:#04x}", type);
    }
}

/// The file's content, inflated where it is gzipped.
class Stream {
  public:
    explicit Stream(const std::filesystem::path& path) : path_(path) {
        if (std::filesystem::is_directory(path)) user_error("{}: is a folder, expected an IDX file", path.string());
        file_.reset(::gzopen(path.c_str(), "rb"));
        if (!file_) user_error("{}: {}", path.string(), std::strerror(errno));
        ::gzbuffer(file_.get(), 1u << 18);
    }

    /// Bytes read, fewer than asked for at the end alone.
    std::size_t read(void* to, std::size_t bytes) {
        const int count = ::gzread(file_.get(), to, static_cast<unsigned>(bytes));
        int code = Z_OK;
        const char* message = ::gzerror(file_.get(), &code);
        if (count < 0 || (code != Z_OK && code != Z_STREAM_END)) {
            if (code == Z_BUF_ERROR)
                user_error("{}: the gzip stream is cut short; fetch the file again", path_.string());
            user_error("{}: the gzip stream is damaged ({}); fetch the file again", path_.string(), message);
        }
        return static_cast<std::size_t>(count);
    }

  private:
    struct Close {
        void operator()(gzFile file) const { ::gzclose(file); }
    };
    std::filesystem::path path_;
    std::unique_ptr<gzFile_s, Close> file_;
};

std::uint32_t big_endian(const std::uint8_t* bytes) {
    return static_cast<std::uint32_t>(bytes[0]) << 24 | static_cast<std::uint32_t>(bytes[1]) << 16 |
           static_cast<std::uint32_t>(bytes[2]) << 8 | static_cast<std::uint32_t>(bytes[3]);
}

struct Header {
    std::uint8_t type;
    std::vector<std::int64_t> shape;
    std::int64_t bytes;  // of the elements
};

Header read_header(Stream& stream, const std::string& where) {
    std::array<std::uint8_t, 4> magic{};
    if (stream.read(magic.data(), magic.size()) < magic.size()) user_error("{}: is too short for an IDX file", where);
    const auto [zero, another_zero, type, dimensions] = magic;
    if (zero != 0 || another_zero != 0 || dimensions < 1 || dimensions > 8) {
        user_error("{}: is not an IDX file: it begins with {:02x} {:02x} {:02x} {:02x}", where, zero, another_zero,
                   type, dimensions);
    }
    if (type != type_byte && type != type_float) {
        user_error("{}: holds {}; strata reads unsigned bytes (0x08) and 32-bit floats (0x0D)", where, type_name(type));
    }
    Header header{type, {}, type == type_float ? 4 : 1};
    for (int i = 0; i < dimensions; ++i) {
        std::array<std::uint8_t, 4> extent{};
        if (stream.read(extent.data(), extent.size()) < extent.size()) user_error("{}: ends inside its header", where);
        header.shape.push_back(big_endian(extent.data()));
        if (header.shape.back() < 1 || header.shape.back() > most_bytes / header.bytes) {
            user_error("{}: dimension {} has the extent {}, which cannot be", where, i + 1, header.shape.back());
        }
        header.bytes *= header.shape.back();
    }
    return header;
}

/// Grows as it reads, so that a header that lies takes no memory.
std::vector<std::uint8_t> read_elements(Stream& stream, const Header& header, const std::string& where) {
    constexpr std::size_t piece = std::size_t{1} << 22;
    const auto wanted = static_cast<std::size_t>(header.bytes);
    std::vector<std::uint8_t> bytes;
    while (bytes.size() < wanted) {
        const std::size_t before = bytes.size();
        const std::size_t more = std::min(piece, wanted - before);
        bytes.resize(before + more);
        const std::size_t count = stream.read(bytes.data() + before, more);
        if (count < more) {
            user_error("{}: is cut short: {} bytes of elements where its header says {}", where, before + count,
                       wanted);
        }
    }
    std::uint8_t beyond = 0;
    if (stream.read(&beyond, 1) > 0) user_error("{}: goes on after the {} bytes that its header says", where, wanted);
    return bytes;
}

std::vector<float> to_floats(const std::vector<std::uint8_t>& bytes) {
    std::vector<float> floats(bytes.size() / 4);
    for (std::size_t i = 0; i < floats.size(); ++i) floats[i] = std::bit_cast<float>(big_endian(&bytes[4 * i]));
    return floats;
}

}  // namespace

IdxArray read_idx(const std::filesystem::path& path) {
    const std::string where = path.string();
    Stream stream(path);
    const Header header = read_header(stream, where);
    IdxArray array{header.shape, read_elements(stream, header, where), {}};
    if (header.type == type_float) {
        array.floats = to_floats(array.bytes);
        array.bytes = {};
    }
    return array;
}

}  // namespace strata::data
