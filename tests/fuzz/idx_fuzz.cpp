// Images and labels in IDX files, plain or gzipped.
#include "data/idx.h"
#include "tests/fuzz/scratch.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    using namespace strata;
    const std::string path = fuzz::scratch().write("images.idx", std::string(fuzz::text_of(bytes, size)));
    fuzz::allow_refusal([&] {
        const data::IdxArray array = data::read_idx(path);
        std::int64_t elements = 1;
        for (const std::int64_t extent : array.shape) elements *= extent;
        const std::size_t held = array.holds_bytes() ? array.bytes.size() : array.floats.size();
        STRATA_CHECK(static_cast<std::size_t>(elements) == held, "{} elements, its shape says {}", held, elements);
        // Deflate makes at most 1032 bytes of one.
        STRATA_CHECK(held <= 1032 * size, "{} elements from {} bytes", held, size);
    });
    return 0;
}
