// One JSON object a line. Cells are the values as text: strings as they are, numbers as JSON writes them (so 1.0 stays
// a fraction), true and false. null, lists and objects count as missing: they may stand in columns nobody reads.
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "data/label_set.h"
#include "data/table_builder.h"

namespace strata::data {
namespace {

using Json = nlohmann::ordered_json;  // keeps the order of the keys

/// The commonest mistake has a better message than the parser's.
void refuse_spread_value(std::string_view line, const std::string& place) {
    if (line != "{" && line != "[") return;
    user_error("{}: a JSON value over several lines, expected one object a line; convert the file with: jq -c '{}'",
               place, line == "[" ? ".[]" : ".");
}

Json parse_object(std::string_view line, const std::string& place) {
    Json value;
    try {
        value = Json::parse(line);
    } catch (const Json::exception& error) {
        std::string_view message =
            error.what();  // "[json.exception.parse_error.101] parse error at line 1, column 8: …"
        const auto begin = message.find(" column ");
        if (begin != std::string_view::npos) message.remove_prefix(begin + 1);
        user_error("{}: not JSON: {}", place, message);
    }
    if (value.is_array()) {
        user_error("{}: a list, expected one object a line; convert the file with: jq -c '.[]'", place);
    }
    if (!value.is_object()) user_error("{}: expected an object such as {{\"sentence\": \"…\", \"label\": 1}}", place);
    return value;
}

void add_value(TableBuilder& builder, Json& object, std::string_view key) {
    const auto value = object.find(key);
    if (value == object.end() || value->is_null() || value->is_structured()) {
        builder.add_cell({});
    } else if (value->is_string()) {
        builder.add_owned_cell(std::move(value->get_ref<std::string&>()));
    } else {
        builder.add_owned_cell(value->dump());
    }
}

}  // namespace

void parse_jsonl(TableBuilder& builder) {
    std::string_view text = builder.text();
    for (std::size_t number = 1; !text.empty(); ++number) {
        const std::string_view line = take_line(text);
        if (trimmed(line).empty()) continue;
        refuse_spread_value(trimmed(line), builder.place(number));
        Json object = parse_object(line, builder.place(number));
        if (!builder.has_keys()) {
            for (const auto& [key, value] : object.items()) builder.add_key(key);
            if (!builder.has_keys())
                user_error("{}: an empty object; its keys would name the columns", builder.place(number));
        }
        for (const auto key : builder.keys()) add_value(builder, object, key);
        builder.end_row(number);
    }
}

}  // namespace strata::data
