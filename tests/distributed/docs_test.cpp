// The code blocks of docs/checkpoints.md run as they stand, on a run in runs/mine.
#include <gtest/gtest.h>

#include <cstdlib>
#include <sstream>

#include "tests/distributed/equal_runs.h"
#include "tests/distributed/job.h"

namespace strata::testing_support {
namespace {

namespace fs = std::filesystem;

struct Block {
    std::string language;
    std::string text;
    int line = 0;  // where it begins
};

/// Those to be run: a block of no language shows what a program prints.
std::vector<Block> blocks_of(const fs::path& page) {
    std::istringstream lines(bytes_of(page));
    std::vector<Block> blocks;
    bool inside = false;
    int number = 0;
    for (std::string line; std::getline(lines, line);) {
        ++number;
        if (line.starts_with("```")) {
            inside = !inside;
            if (inside) blocks.push_back({line.substr(3), "", number});
        } else if (inside) {
            blocks.back().text += line + "\n";
        }
    }
    std::erase_if(blocks, [](const Block& block) { return block.language.empty(); });
    return blocks;
}

class ChecksDocs : public testing::TestWithParam<Block> {
  protected:
    int run(const std::string& command) const {
        const std::string whole = "cd '" + scratch_.path().string() + "' && { " + command + "\n} >log 2>&1 </dev/null";
        return std::system(whole.c_str());
    }

    /// The program that runs the block, or nothing where something that it names is missing.
    std::string interpreter() const {
        if (GetParam().language == "sh")
            return GetParam().text.find("h5dump") != std::string::npos && run("command -v h5dump") != 0
                       ? ""
                       : "bash -euo pipefail";
        const char* named = std::getenv("STRATA_PYTHON");
        const std::string python = named != nullptr ? named : "python3";
        std::istringstream lines(GetParam().text);
        for (std::string line; std::getline(lines, line);) {
            if (line.starts_with("import ") && run(python + " -c '" + line + "'") != 0) return "";
        }
        return python;
    }

    ScratchFolder scratch_;
};

TEST_P(ChecksDocs, block_runs) {
    const std::string program = interpreter();
    if (program.empty()) {
        GTEST_SKIP() << "docs/checkpoints.md:" << GetParam().line << ": needs h5dump, or Python with "
                     << GetParam().text;
    }
    expect_success(run_strata(2, with(parity_run(2, scratch_ / "runs/mine"), {"--save_steps", "10"})));
    fs::create_directories(scratch_ / "build");
    fs::create_symlink(STRATA_PROGRAM, scratch_ / "build/strata");
    scratch_.write("block", GetParam().text);
    EXPECT_EQ(run(program + " block"), 0) << bytes_of(scratch_ / "log");
    EXPECT_EQ(GetParam().text.find("print") != std::string::npos && bytes_of(scratch_ / "log").empty(), false);
}

INSTANTIATE_TEST_SUITE_P(Checkpoints, ChecksDocs, testing::ValuesIn(blocks_of(STRATA_DOCS "/checkpoints.md")),
                         [](const auto& block) {
                             return block.param.language + "_line_" + std::to_string(block.param.line);
                         });

}  // namespace
}  // namespace strata::testing_support
