// IDX, the format of MNIST and its kin (Y. LeCun, C. Cortes, C. J. C. Burges, http://yann.lecun.com/exdb/mnist): two
// zero bytes, the type, the number of dimensions, each extent as a big-endian 32-bit number, then the elements,
// row-major and big-endian. Plain or gzipped, by content.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace strata::data {

/// One of `bytes` (type 0x08) and `floats` (0x0D) holds the elements.
struct IdxArray {
    std::vector<std::int64_t> shape;  // 1 to 8 extents, each at least 1
    std::vector<std::uint8_t> bytes;
    std::vector<float> floats;

    bool holds_bytes() const { return floats.empty(); }
};

/// Throws UserError naming the file: missing; not IDX; a type that is not read; extents that cannot be; fewer or more
/// elements than the header says; a damaged or cut gzip stream.
IdxArray read_idx(const std::filesystem::path& path);

}  // namespace strata::data
