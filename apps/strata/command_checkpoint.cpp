// strata checkpoint inspect FOLDER: what a checkpoint holds, in words.
#include <cstdio>

#include "apps/strata/commands.h"
#include "dist/checkpoint.h"

namespace strata::app {

int run_inspect(const Config& config) {
    std::printf("%s", dist::inspect_checkpoint(config.checkpoint).c_str());
    return exit_done;
}

}  // namespace strata::app
