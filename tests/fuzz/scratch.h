// Where fuzz targets put their input: parsers open files by name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "core/error.h"
#include "tests/support/scratch_folder.h"

namespace strata::fuzz {

/// The one scratch folder of a target; TMPDIR says where.
inline const testing_support::ScratchFolder& scratch() {
    static const testing_support::ScratchFolder folder;
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
