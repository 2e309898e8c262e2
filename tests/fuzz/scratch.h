// Where fuzz targets put their input: parsers open files by name.
#pragma once

#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "core/error.h"
#include "core/file.h"

namespace strata::fuzz {

/// A folder of this process, in memory where the machine has such a place; removed at the end.
class Scratch {
  public:
    Scratch() {
        const std::filesystem::path memory = "/dev/shm";
        std::error_code absent;
        const auto parent =
            std::filesystem::is_directory(memory, absent) ? memory : std::filesystem::temp_directory_path();
        folder_ = parent / ("strata-fuzz-" + std::to_string(::getpid()));
        std::filesystem::create_directories(folder_);
    }
    ~Scratch() {
        std::error_code ignored;
        std::filesystem::remove_all(folder_, ignored);
    }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;

    const std::filesystem::path& folder() const { return folder_; }

    /// The file under that name, with that content alone.
    std::filesystem::path write(const std::string& name, std::string_view content) const {
        const auto path = folder_ / name;
        std::error_code absent;
        std::filesystem::remove(path, absent);
        append_to_file(path, content);
        return path;
    }

  private:
    std::filesystem::path folder_;
};

/// The one scratch folder of a target.
inline const Scratch& scratch() {
    static const Scratch folder;
    return folder;
}

inline std::string_view text_of(const std::uint8_t* data, std::size_t size) {
    return {reinterpret_cast<const char*>(data), size};
}

/// Takes the first byte off and returns it below `choices`.
inline std::size_t take_choice(std::string_view& input, std::size_t choices) {
    if (input.empty()) return 0;
    const auto choice = static_cast<unsigned char>(input.front()) % choices;
    input.remove_prefix(1);
    return choice;
}

/// What a wrong file may do: be refused in words. Everything else, STRATA_CHECK included, ends the target.
template <typename Action>
void allow_refusal(Action&& action) {
    try {
        action();
    } catch (const UserError& error) {
        STRATA_CHECK(error.what()[0] != '\0', "a refusal without words");
    } catch (const SystemError& error) {
        STRATA_CHECK(error.what()[0] != '\0', "a refusal without words");
    }
}

}  // namespace strata::fuzz
