// A file for one test, with the content given; removed at the end.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "core/error.h"

namespace strata::data {

class TemporaryFile {
  public:
    /// `name` chooses the format by its ending.
    TemporaryFile(const std::string& name, std::string_view content) {
        const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
        folder_ = std::filesystem::temp_directory_path() / (std::string("strata_") + std::to_string(::getpid()) + "_" +
                                                            test->test_suite_name() + "_" + test->name());
        std::filesystem::create_directories(folder_);
        path_ = folder_ / name;
        std::ofstream(path_, std::ios::binary) << content;
    }
    ~TemporaryFile() {
        std::error_code ignored;
        std::filesystem::remove(path_, ignored);
        std::filesystem::remove(folder_, ignored);  // only when the last of the test's files is gone
    }
    TemporaryFile(const TemporaryFile&) = delete;
    TemporaryFile& operator=(const TemporaryFile&) = delete;

    const std::filesystem::path& path() const { return path_; }

  private:
    std::filesystem::path folder_;
    std::filesystem::path path_;
};

/// The message of the UserError that `action` throws; a failure if it throws none.
template <typename Action>
std::string user_error_of(Action action) {
    try {
        action();
    } catch (const UserError& error) {
        return error.what();
    }
    ADD_FAILURE() << "no error";
    return "";
}

}  // namespace strata::data
