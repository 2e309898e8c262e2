#include "apps/strata/report/json_lines.h"

#include <algorithm>
#include <limits>
#include <string_view>

#include "core/error.h"
#include "core/file.h"

namespace strata::app::report {
namespace fs = std::filesystem;
namespace {

nlohmann::json parse(const fs::path& file, std::size_t first_line, std::string_view text) {
    try {
        return nlohmann::json::parse(text);
    } catch (const nlohmann::json::parse_error& error) {
        const auto end = text.begin() + static_cast<std::ptrdiff_t>(std::min(error.byte, text.size()));
        user_error("{}:{}: is not JSON: {}", file.string(),
                   first_line + static_cast<std::size_t>(std::count(text.begin(), end, '\n')), error.what());
    }
}

}  // namespace

nlohmann::json read_object(const fs::path& file) {
    if (!fs::exists(file)) return nullptr;
    nlohmann::json json = parse(file, 1, read_file(file));
    if (!json.is_object()) user_error("{}:1: expected an object, found {}", file.string(), json.type_name());
    return json;
}

JsonLines read_lines(const fs::path& file) {
    JsonLines out;
    if (!fs::exists(file)) return out;
    const std::string text = read_file(file);
    std::size_t number = 0;
    for (std::size_t begin = 0; begin < text.size();) {
        ++number;
        const std::size_t end = text.find('\n', begin);
        if (end == std::string::npos) {
            out.cut_short = true;
            break;
        }
        const std::string_view line = std::string_view(text).substr(begin, end - begin);
        begin = end + 1;
        if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
        nlohmann::json object = parse(file, number, line);
        if (!object.is_object() || !object.contains("step") || !object["step"].is_number()) {
            user_error("{}:{}: expected an object with a \"step\", as strata train writes them", file.string(), number);
        }
        // A run that was started again made these steps anew.
        const double step = object["step"];
        while (!out.lines.empty() && out.lines.back().object["step"].get<double>() >= step) {
            out.lines.pop_back();
            ++out.replaced;
        }
        out.lines.push_back({number, std::move(object)});
    }
    return out;
}

double number_at(const fs::path& file, const LoggedLine& line, const nlohmann::json& object, const std::string& key) {
    const auto found = object.find(key);
    if (found == object.end() || found->is_null()) return std::numeric_limits<double>::quiet_NaN();
    if (!found->is_number()) {
        user_error("{}:{}: \"{}\" is {}, expected a number", file.string(), line.number, key, found->type_name());
    }
    return found->get<double>();
}

double number_or(const nlohmann::json& object, const std::string& key, double otherwise) {
    if (!object.is_object()) return otherwise;
    const auto found = object.find(key);
    return found != object.end() && found->is_number() ? found->get<double>() : otherwise;
}

}  // namespace strata::app::report
