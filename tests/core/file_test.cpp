#include "core/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "core/error.h"

namespace strata {
namespace {

namespace fs = std::filesystem;

class FileTest : public testing::Test {
  protected:
    FileTest() : folder_(fs::path(testing::TempDir()) / ("strata_file_test_" + std::to_string(::getpid()))) {
        fs::remove_all(folder_);
        fs::create_directories(folder_);
    }
    ~FileTest() override { fs::remove_all(folder_); }
    fs::path folder_;
};

TEST_F(FileTest, what_is_written_is_read) {
    const std::string content("a\0b\n", 4);
    write_file_atomically(folder_ / "x", content);
    EXPECT_EQ(read_file(folder_ / "x"), content);
    EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 1) << "no temporary file may stay";
}

TEST_F(FileTest, an_empty_file_is_an_empty_map) {
    std::ofstream(folder_ / "empty").flush();
    EXPECT_TRUE(MappedFile(folder_ / "empty").bytes().empty());
}

TEST_F(FileTest, missing_files_and_folders_are_user_errors_that_name_them) {
    EXPECT_THAT([&] { read_file(folder_ / "no"); },
                testing::ThrowsMessage<UserError>(
                    testing::AllOf(testing::HasSubstr("/no"), testing::HasSubstr("No such file"))));
    EXPECT_THAT([&] { MappedFile map(folder_); }, testing::ThrowsMessage<UserError>(testing::HasSubstr("is a folder")));
}

TEST_F(FileTest, a_failed_write_keeps_the_old_content) {
    write_file_atomically(folder_ / "x", "old");
    // A folder where the temporary file should go makes the write fail, for root as well.
    fs::create_directories(folder_ / "x.tmp");
    EXPECT_THROW(write_file_atomically(folder_ / "x", "new"), SystemError);
    EXPECT_EQ(read_file(folder_ / "x"), "old");
}

TEST_F(FileTest, what_is_not_committed_is_removed) {
    {
        AtomicFile file(folder_ / "x");
        file.write("half", 4);
    }
    EXPECT_TRUE(fs::is_empty(folder_));
}

TEST_F(FileTest, appending_keeps_what_was_there) {
    append_to_file(folder_ / "log", "one\n");
    append_to_file(folder_ / "log", "two\n");
    EXPECT_EQ(read_file(folder_ / "log"), "one\ntwo\n");
}

TEST_F(FileTest, a_full_disk_is_the_users_to_mend) {
    if (::access("/dev/full", W_OK) != 0) GTEST_SKIP() << "no /dev/full here";
    fs::create_symlink("/dev/full", folder_ / "x.tmp");
    EXPECT_THAT([&] { write_file_atomically(folder_ / "x", "new"); },
                testing::ThrowsMessage<UserError>(testing::HasSubstr("No space left")));
    EXPECT_FALSE(fs::exists(folder_ / "x"));
    EXPECT_THAT([&] { append_to_file("/dev/full", "new"); },
                testing::ThrowsMessage<UserError>(testing::HasSubstr("/dev/full: cannot be written: No space left")));
}

TEST_F(FileTest, a_map_moves) {
    write_file_atomically(folder_ / "x", "content");
    MappedFile first(folder_ / "x");
    MappedFile second(std::move(first));
    EXPECT_EQ(second.text(), "content");
    EXPECT_TRUE(first.bytes().empty());
}

}  // namespace
}  // namespace strata
