// What the tokenizer's tests share: the fixtures as JSON, and model folders that go away with the test.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

#include "core/file.h"
#include "tests/data/temporary_file.h"

namespace strata::data {

inline std::filesystem::path tokenizer_fixture(const std::string& name) {
    return std::filesystem::path(STRATA_FIXTURES) / "tokenizer" / name;
}

inline nlohmann::json tokenizer_json_fixture(const std::string& name) {
    return nlohmann::json::parse(read_file(tokenizer_fixture(name)));
}

class TemporaryFolder {
  public:
    TemporaryFolder() {
        std::string pattern = (std::filesystem::temp_directory_path() / "strata_tokenizer_XXXXXX").string();
        if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp");
        path_ = pattern;
    }
    ~TemporaryFolder() { std::filesystem::remove_all(path_); }
    TemporaryFolder(const TemporaryFolder&) = delete;
    TemporaryFolder& operator=(const TemporaryFolder&) = delete;

    void write(const std::string& name, const std::string& content) const {
        std::ofstream(path_ / name, std::ios::binary) << content;
    }
    const std::filesystem::path& path() const { return path_; }

  private:
    std::filesystem::path path_;
};

}  // namespace strata::data
