// strata checkpoint inspect and verify: what checkpoints hold, in words, and whether every byte of it is as it was
// written.
#include <cstdio>

#include "apps/strata/commands.h"
#include "dist/checkpoint.h"

namespace strata::app {
namespace fs = std::filesystem;
namespace {

/// Of all paths, before anything is said: one that is none is a slip of the whole command.
std::vector<fs::path> named_checkpoints(const Config& config) {
    std::vector<fs::path> folders;
    for (const std::string& path : config.checkpoints) {
        const std::vector<fs::path> found = dist::checkpoints_at(path);
        folders.insert(folders.end(), found.begin(), found.end());
    }
    return folders;
}

}  // namespace

int run_inspect(const Config& config) {
    const char* between = "";
    for (const fs::path& folder : named_checkpoints(config)) {
        std::printf("%s%s", between, dist::inspect_checkpoint(folder).c_str());
        between = "\n\n";
    }
    return exit_done;
}

int run_verify(const Config& config) {
    int result = exit_done;
    for (const fs::path& folder : named_checkpoints(config)) {
        const std::vector<std::string> faults = dist::verify_checkpoint(folder);
        for (const std::string& fault : faults) std::printf("%s\n", fault.c_str());
        if (faults.empty())
            std::printf("%s: whole\n", folder.c_str());
        else
            result = exit_failed;
        std::fflush(stdout);
    }
    return result;
}

}  // namespace strata::app
