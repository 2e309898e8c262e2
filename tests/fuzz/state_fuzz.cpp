// state.h5 as its reader gets it: no checksums.json stands before these bytes.
#include "dist/state_file.h"
#include "tests/fuzz/scratch.h"

namespace {

/// All that a file which opens says it has can be read, or is refused in words.
void read_everything(const strata::dist::StateFile& file, std::size_t file_bytes) {
    using namespace strata;
    for (const dist::StateFile::Extent& extent : file.extents()) {
        STRATA_CHECK(extent.bytes <= file_bytes && extent.offset <= file_bytes - extent.bytes, "{} lies outside",
                     extent.dataset);
    }
    file.verify();
    for (std::size_t group = 0; group < file.groups().size(); ++group) {
        const auto& stored = file.groups()[group];
        for (const dist::StateKind kind : dist::state_kinds) {
            if (!stored.present[static_cast<std::size_t>(kind)]) continue;
            const auto elements = static_cast<std::size_t>(stored.group.elements);
            STRATA_CHECK(elements <= file_bytes / sizeof(float), "{} elements believed", elements);
            std::vector<float> values(elements);
            fuzz::allow_refusal([&] { file.read(group, kind, {{0, stored.group.elements, values.data()}}); });
        }
    }
}

}  // namespace

/// HDF5 (1.10) itself forgets a few hundred bytes for each file that it refuses; what this reader leaks still counts.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() {
    return "leak:libhdf5";
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    using namespace strata;
    const std::string path = fuzz::scratch().write("state.h5", std::string(fuzz::text_of(bytes, size)));
    fuzz::allow_refusal([&] { read_everything(dist::StateFile(path), size); });
    return 0;
}
