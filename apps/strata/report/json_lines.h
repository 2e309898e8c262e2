// The JSON files of a run directory, read with errors that say file and line.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace strata::app::report {

/// The object in a file, null where there is no such file. Throws UserError: FILE:LINE.
nlohmann::json read_object(const std::filesystem::path& file);

struct LoggedLine {
    std::size_t number = 0;  ///< in the file, from 1
    nlohmann::json object;
};

struct JsonLines {
    std::vector<LoggedLine> lines;  ///< steps rising
    std::size_t replaced = 0;       ///< lines whose steps a later line made again
    bool cut_short = false;         ///< the last line had no end and was left out
};

/// Objects with a "step", a line each; none where there is no such file. Throws UserError: FILE:LINE.
JsonLines read_lines(const std::filesystem::path& file);

/// The number at `key`; not a number where it is missing or null, as JSON writes what is not finite. Throws UserError:
/// FILE:LINE.
double number_at(const std::filesystem::path& file, const LoggedLine& line, const nlohmann::json& object,
                 const std::string& key);

/// The number at `key` of an object, `otherwise` where there is none.
double number_or(const nlohmann::json& object, const std::string& key, double otherwise);

}  // namespace strata::app::report
