// checksums.json of a checkpoint folder, its other files, and the progress that a checkpoint keeps as JSON.
#include "apps/strata/train_progress.h"
#include "dist/checkpoint.h"
#include "dist/checksums.h"
#include "tests/fuzz/scratch.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    using namespace strata;
    static const char* const files[] = {"checksums.json", "trainer_state.json", "state.h5"};
    std::string_view input = fuzz::text_of(bytes, size);
    const std::size_t choice = fuzz::take_choice(input, std::size(files) + 1);
    if (choice == std::size(files)) {
        fuzz::allow_refusal([&] { app::progress_from_json(std::string(input), "state.h5"); });
        return 0;
    }
    const auto& folder = fuzz::scratch().path();
    for (const char* name : files) std::filesystem::remove(folder / name);
    fuzz::scratch().write("trainer_state.json", "{}\n");
    fuzz::scratch().write("checksums.json", dist::make_checksums(folder));
    fuzz::scratch().write(files[choice], std::string(input));
    fuzz::allow_refusal([&] {
        const bool changed = choice != 1 || input != "{}\n";
        STRATA_CHECK(choice == 0 || dist::verify_files(folder).empty() != changed, "{} was not looked at",
                     files[choice]);
    });
    fuzz::allow_refusal([&] { dist::verify_checkpoint(folder); });
    fuzz::allow_refusal([&] { dist::open_checkpoint_state(folder); });
    return 0;
}
