// Whole runs with --cache_dir: the same training, whoever made the tokens.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "core/file.h"
#include "tests/distributed/job.h"

namespace strata::testing_support {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

class TokenCacheRuns : public testing::Test {
  protected:
    std::vector<double> losses(const std::string& name, const std::vector<std::string>& more) {
        const JobResult job = run_strata(2, with(parity_run(2, scratch_ / name), more));
        EXPECT_EQ(job.exit_code, 0) << job.output;
        output_ = job.output;
        std::vector<double> losses;
        for (const auto& line : read_lines(scratch_ / name / "metrics.jsonl")) losses.push_back(line["loss"]);
        EXPECT_EQ(losses.size(), 20u);
        return losses;
    }
    std::vector<fs::path> kept() const {
        std::vector<fs::path> files;
        for (const auto& entry : fs::directory_iterator(scratch_ / "cache")) files.push_back(entry.path());
        return files;
    }
    std::vector<std::string> cached() const { return {"--cache_dir", (scratch_ / "cache").string()}; }

    ScratchFolder scratch_;
    std::string output_;
};

TEST_F(TokenCacheRuns, two_ranks_train_alike_with_and_without) {
    const auto plain = losses("plain", {});
    EXPECT_THAT(output_, Not(HasSubstr("tokens of")));
    EXPECT_EQ(losses("first", cached()), plain);
    const auto files = kept();
    ASSERT_FALSE(files.empty());
    for (const auto& file : files) EXPECT_EQ(file.extension(), ".h5");
    EXPECT_EQ(losses("second", cached()), plain);
    EXPECT_THAT(output_, HasSubstr("read from"));
    EXPECT_EQ(kept().size(), files.size());

    for (const auto& file : files) fs::resize_file(file, fs::file_size(file) / 2);
    EXPECT_EQ(losses("damaged", cached()), plain);
    EXPECT_EQ(losses("mended", cached()), plain);
    EXPECT_THAT(output_, HasSubstr("read from"));
}

TEST_F(TokenCacheRuns, a_changed_file_has_tokens_of_its_own) {
    const std::string changed = scratch_.write("changed.tsv", "a new text\t1\n" + read_file(parity("train.tsv")));
    losses("before", cached());
    const std::size_t before = kept().size();
    const auto plain = losses("plain", {"--train_file", changed});
    auto flags = cached();
    flags.insert(flags.end(), {"--train_file", changed});
    EXPECT_EQ(losses("after", flags), plain);
    EXPECT_EQ(kept().size(), before + 1);
}

TEST_F(TokenCacheRuns, a_folder_that_cannot_be_written_is_done_without) {
    const auto plain = losses("plain", {});
    scratch_.write("cache", "no folder");
    EXPECT_EQ(losses("without", cached()), plain);
    EXPECT_THAT(output_, HasSubstr("not kept"));
}

}  // namespace
}  // namespace strata::testing_support
