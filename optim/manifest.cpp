#include "optim/manifest.h"

#include "core/error.h"
#include "core/file.h"

#include <charconv>
#include <optional>
#include <string_view>
#include <unordered_map>

namespace strata::optim {

namespace {

// More than any machine holds, and small enough that sums over a whole model cannot overflow.
constexpr std::int64_t most_elements = std::int64_t{1} << 48;

std::optional<std::vector<std::int64_t>> parse_shape(std::string_view text) {
    std::vector<std::int64_t> shape;
    const char* at = text.data();
    const char* const end = at + text.size();
    while (true) {
        std::int64_t extent = 0;
        const auto [next, error] = std::from_chars(at, end, extent);
        if (error != std::errc() || next == at || extent < 1) return std::nullopt;
        shape.push_back(extent);
        if (next == end) return shape;
        if (*next != 'x') return std::nullopt;
        at = next + 1;
    }
}

/// What is wrong with a name; empty when nothing is.
std::string_view name_fault(std::string_view name) {
    if (name.empty()) return "the name is empty";
    if (name.front() == '.' || name.back() == '.' || name.find("..") != std::string_view::npos) {
        return "the name has an empty component";
    }
    for (const char c : name) {
        if (static_cast<unsigned char>(c) <= ' ') return "the name has a space or control character";
    }
    return {};
}

bool is_shape(const std::vector<std::int64_t>& shape) {
    std::int64_t elements = 1;
    for (const std::int64_t extent : shape) {
        if (extent < 1 || extent > most_elements / elements) return false;
        elements *= extent;
    }
    return true;
}

Parameter parse_line(std::string_view line, const std::string& place) {
    const std::size_t tab = line.find('\t');
    if (tab == std::string_view::npos) {
        user_error("{}: no tab. A line is a name, a tab and a shape: bert.pooler.dense.weight<TAB>768x768", place);
    }
    const std::string_view name = line.substr(0, tab);
    const std::string_view shape = line.substr(tab + 1);
    if (const std::string_view fault = name_fault(name); !fault.empty()) user_error("{}: {}.", place, fault);
    auto extents = parse_shape(shape);
    if (!extents || !is_shape(*extents)) {
        user_error("{}: '{}' is not a shape. Write extents of 1 or more joined by 'x', as 768x3072; a scalar is 1.",
                   place, shape);
    }
    return {std::string(name), std::move(*extents)};
}

}  // namespace

std::int64_t Parameter::elements() const {
    std::int64_t product = 1;
    for (const std::int64_t extent : shape) product *= extent;
    return product;
}

Manifest read_manifest(const std::filesystem::path& path) {
    const std::string content = read_file(path);
    Manifest manifest;
    std::unordered_map<std::string, std::size_t> line_of;
    std::size_t line_number = 0;
    for (std::string_view rest = content; !rest.empty();) {
        const std::size_t newline = rest.find('\n');
        std::string_view line = rest.substr(0, newline);
        rest = newline == std::string_view::npos ? std::string_view{} : rest.substr(newline + 1);
        ++line_number;
        if (line.ends_with('\r')) line.remove_suffix(1);
        if (line.empty() || line.front() == '#') continue;
        manifest.push_back(parse_line(line, fmt::format("{}:{}", path.string(), line_number)));
        const auto [before, is_new] = line_of.emplace(manifest.back().name, line_number);
        if (!is_new) {
            user_error("{}:{}: '{}' is there already, on line {}. Each parameter has one line.", path.string(),
                       line_number, before->first, before->second);
        }
    }
    if (manifest.empty()) {
        user_error("{}: no parameters. Each line is a name, a tab and a shape such as 768x3072.", path.string());
    }
    check_manifest(manifest);
    return manifest;
}

void check_manifest(const Manifest& manifest) {
    if (manifest.empty()) user_error("The model has no parameters, so there is nothing to train.");
    std::unordered_map<std::string_view, std::size_t> index_of;
    std::int64_t total = 0;
    for (std::size_t i = 0; i < manifest.size(); ++i) {
        const Parameter& parameter = manifest[i];
        if (const std::string_view fault = name_fault(parameter.name); !fault.empty()) {
            user_error("Parameter {} ('{}'): {}.", i, parameter.name, fault);
        }
        if (!is_shape(parameter.shape)) {
            user_error("Parameter '{}' has the shape {}; every extent must be 1 or more.", parameter.name,
                       shape_text(parameter.shape));
        }
        if (const auto [before, is_new] = index_of.emplace(parameter.name, i); !is_new) {
            user_error("Two parameters are named '{}' (numbers {} and {}). A tensor registered twice is listed once.",
                       parameter.name, before->second, i);
        }
        total += parameter.elements();
        if (total > most_elements) user_error("The model has more than 2^48 elements by '{}'.", parameter.name);
    }
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
    if (shape.empty()) return "1";
    std::string text;
    for (const std::int64_t extent : shape) text += fmt::format("{}{}", text.empty() ? "" : "x", extent);
    return text;
}

}  // namespace strata::optim
