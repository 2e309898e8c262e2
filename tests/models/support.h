// What the tests of models/ share: temporary folders, expected errors, the committed batch.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "core/error.h"
#include "core/file.h"

namespace strata::models::testing {

inline std::filesystem::path fixtures() {
    return std::filesystem::path(STRATA_FIXTURES) / "models";
}

/// A folder of its own, gone with all it holds at the end of the test.
class TemporaryFolder {
  public:
    TemporaryFolder() {
        std::string pattern = (std::filesystem::temp_directory_path() / "strata-models-XXXXXX").string();
        if (::mkdtemp(pattern.data()) == nullptr) throw_errno(pattern);
        path_ = pattern;
    }
    ~TemporaryFolder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    TemporaryFolder(const TemporaryFolder&) = delete;
    TemporaryFolder& operator=(const TemporaryFolder&) = delete;

    const std::filesystem::path& path() const { return path_; }
    std::filesystem::path write(const std::string& name, std::string_view content) const {
        std::ofstream(path_ / name, std::ios::binary) << content;
        return path_ / name;
    }
    /// A copy of one of the committed model folders, to be spoilt.
    static void copy_model(const std::string& name, const std::filesystem::path& to) {
        std::filesystem::copy(fixtures() / name, to, std::filesystem::copy_options::recursive);
    }

  private:
    std::filesystem::path path_;
};

/// `action` must throw `Error` with a message that has every one of `parts`.
template <typename Error, typename Action>
void expect_error(const Action& action, std::initializer_list<std::string> parts) {
    try {
        action();
    } catch (const Error& error) {
        for (const std::string& part : parts) {
            EXPECT_NE(std::string(error.what()).find(part), std::string::npos)
                << "no '" << part << "' in: " << error.what();
        }
        return;
    } catch (const std::exception& error) {
        ADD_FAILURE() << "another kind of error: " << error.what();
        return;
    }
    ADD_FAILURE() << "no error";
}

template <typename Action>
void expect_user_error(const Action& action, std::initializer_list<std::string> parts) {
    expect_error<UserError>(action, parts);
}

}  // namespace strata::models::testing
