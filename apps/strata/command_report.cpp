// strata report RUN…: one HTML page over the runs.
#include <cstdio>

#include "apps/strata/commands.h"
#include "apps/strata/report/page.h"
#include "apps/strata/run_directory.h"
#include "core/file.h"

namespace strata::app {
namespace fs = std::filesystem;

int run_report(const Config& config) {
    const std::vector<fs::path> runs(config.runs.begin(), config.runs.end());
    const std::string page = report::report_page(runs);
    const fs::path output = !config.output.empty() ? fs::path(config.output)
                            : runs.size() == 1     ? runs.front() / report_name
                                                   : fs::path(report_name);
    write_file_atomically(output, page);
    std::printf("%s\n", output.string().c_str());
    return exit_done;
}

}  // namespace strata::app
