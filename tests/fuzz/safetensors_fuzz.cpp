// A safetensors file: opened, and every tensor loaded.
#include "models/safetensors.h"
#include "tests/fuzz/scratch.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    using namespace strata;
    const auto path = fuzz::scratch().write("model.safetensors", std::string(fuzz::text_of(bytes, size)));
    fuzz::allow_refusal([&] {
        const models::SafetensorsFile file(path);
        std::size_t total = 0;
        for (const auto& [name, info] : file.tensors()) total += file.load(name).nbytes();
        STRATA_CHECK(total <= size, "{} bytes of tensors from a file of {}", total, size);
    });
    return 0;
}
