#include <torch/types.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "core/error.h"
#include "models/safetensors.h"
#include "models/safetensors_dtype.h"

namespace strata::models {
namespace {

using nlohmann::json;

constexpr std::uint64_t length_bytes = 8;
constexpr std::uint64_t longest_header = 100'000'000;  // the reference implementation's limit
constexpr const char* damaged = "the file is damaged or not safetensors; fetch it again";

std::string_view header_of(std::string_view file, const std::string& where) {
    if (file.size() < length_bytes) user_error("{}: {} bytes are too few for a safetensors file", where, file.size());
    std::uint64_t length = 0;
    for (std::size_t i = 0; i < length_bytes; ++i)
        length |= static_cast<std::uint64_t>(static_cast<unsigned char>(file[i])) << (8 * i);
    if (length > longest_header) {
        user_error("{}: the header claims {} bytes, the most is {}; {}", where, length, longest_header, damaged);
    }
    if (length > file.size() - length_bytes) {
        user_error("{}: the header claims {} bytes but the file has {}; the file is truncated, fetch it again", where,
                   length, file.size());
    }
    return file.substr(length_bytes, length);
}

/// JSON keeps the last of two equal names; a file with two is refused, since readers would differ about what it holds.
json parse_header(std::string_view text, const std::string& where) {
    std::vector<std::set<std::string>> names_at_depth;
    const auto watch = [&](int depth, json::parse_event_t event, json& value) {
        const auto level = static_cast<std::size_t>(depth);
        if (event == json::parse_event_t::object_start) {
            names_at_depth.resize(level + 1);
            names_at_depth.emplace_back();
        } else if (event == json::parse_event_t::key &&
                   !names_at_depth[level].insert(value.get<std::string>()).second) {
            user_error("{}: '{}' appears twice in the header; {}", where, value.get<std::string>(), damaged);
        }
        return true;
    };
    try {
        json header = json::parse(text, watch);
        if (!header.is_object()) user_error("{}: the header is not a JSON object; {}", where, damaged);
        return header;
    } catch (const json::exception& error) {
        user_error("{}: the header is not valid JSON ({}); {}", where, error.what(), damaged);
    }
}

/// One entry of the header; messages name the file and the tensor.
class Entry {
  public:
    Entry(const std::string& name, const json& entry, std::uint64_t data_size, const std::string& where)
        : name_(name), entry_(entry), data_size_(data_size), where_(where) {}

    TensorInfo info() const {
        if (!entry_.is_object()) refuse("its header entry is not an object");
        for (const char* key : {"dtype", "shape", "data_offsets"}) {
            if (!entry_.contains(key)) refuse(fmt::format("its header entry has no {}", key));
        }
        TensorInfo info{dtype(), shape(), 0, 0};
        const auto offsets = unsigned_numbers("data_offsets");
        if (offsets.size() != 2) refuse("data_offsets must be two numbers");
        info.begin = offsets[0];
        info.end = offsets[1];
        if (info.begin > info.end) refuse(fmt::format("it ends ({}) before it begins ({})", info.end, info.begin));
        if (info.end > data_size_) {
            refuse(fmt::format("it ends at byte {} but the data has {} bytes; the file may be truncated", info.end,
                               data_size_));
        }
        const std::uint64_t expected = bytes_of(info);
        if (expected != info.end - info.begin) {
            refuse(fmt::format("its shape needs {} bytes but its offsets span {}", expected, info.end - info.begin));
        }
        return info;
    }

  private:
    [[noreturn]] void refuse(const std::string& why) const {
        user_error("{}: tensor '{}': {}; {}", where_, name_, why, damaged);
    }

    torch::ScalarType dtype() const {
        if (!entry_.at("dtype").is_string()) refuse("dtype is not a string");
        const auto name = entry_.at("dtype").get<std::string>();
        const auto found = dtype_named(name);
        if (!found) user_error("{}: tensor '{}': unknown dtype '{}'", where_, name_, name.substr(0, 40));
        return *found;
    }

    std::vector<std::uint64_t> unsigned_numbers(const char* key) const {
        const json& list = entry_.at(key);
        if (!list.is_array()) refuse(fmt::format("{} is not a list", key));
        std::vector<std::uint64_t> numbers;
        for (const json& number : list) {
            if (!number.is_number_unsigned())
                refuse(fmt::format("{} has an entry that is not a whole number from 0 up", key));
            numbers.push_back(number.get<std::uint64_t>());
        }
        return numbers;
    }

    std::vector<std::int64_t> shape() const {
        std::vector<std::int64_t> shape;
        for (const std::uint64_t size : unsigned_numbers("shape")) {
            if (size > INT64_MAX) refuse("its shape is too large");
            shape.push_back(static_cast<std::int64_t>(size));
        }
        return shape;
    }

    std::uint64_t bytes_of(const TensorInfo& info) const {
        std::uint64_t bytes = torch::elementSize(info.dtype);
        for (const std::int64_t size : info.shape) {
            if (__builtin_mul_overflow(bytes, static_cast<std::uint64_t>(size), &bytes))
                refuse("its shape is too large");
        }
        return bytes;
    }

    const std::string& name_;
    const json& entry_;
    std::uint64_t data_size_;
    const std::string& where_;
};

/// In order of their bytes, tensors must follow one another from the data's first byte to its last.
void check_coverage(const std::map<std::string, TensorInfo>& tensors, std::uint64_t data_size,
                    const std::string& where) {
    std::vector<std::pair<const std::string*, const TensorInfo*>> ordered;
    for (const auto& [name, info] : tensors) ordered.emplace_back(&name, &info);
    std::sort(ordered.begin(), ordered.end(), [](const auto& a, const auto& b) {
        return std::pair(a.second->begin, a.second->end) < std::pair(b.second->begin, b.second->end);
    });
    std::uint64_t reached = 0;
    for (const auto& [name, info] : ordered) {
        if (info->begin != reached) {
            user_error("{}: tensor '{}' begins at byte {}, expected {}: {}; {}", where, *name, info->begin, reached,
                       info->begin < reached ? "it overlaps another" : "there is a hole before it", damaged);
        }
        reached = info->end;
    }
    if (reached != data_size) {
        user_error("{}: {} bytes after the last tensor belong to none; {}", where, data_size - reached, damaged);
    }
}

std::map<std::string, std::string> read_metadata(const json& entry, const std::string& where) {
    std::map<std::string, std::string> metadata;
    if (!entry.is_object()) user_error("{}: __metadata__ is not an object; {}", where, damaged);
    for (const auto& [key, value] : entry.items()) {
        if (!value.is_string()) user_error("{}: __metadata__ '{}' is not a string; {}", where, key, damaged);
        metadata[key] = value.get<std::string>();
    }
    return metadata;
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : file_(path) {
    const std::string where = path.string();
    const std::string_view header = header_of(file_.text(), where);
    data_begin_ = length_bytes + header.size();
    const std::uint64_t data_size = file_.bytes().size() - data_begin_;
    const json parsed = parse_header(header, where);
    for (const auto& [name, entry] : parsed.items()) {
        if (name == "__metadata__") {
            metadata_ = read_metadata(entry, where);
        } else {
            tensors_.emplace(name, Entry(name, entry, data_size, where).info());
        }
    }
    check_coverage(tensors_, data_size, where);
}

const TensorInfo& SafetensorsFile::info(const std::string& name) const {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) user_error("{}: there is no tensor '{}'", path().string(), name);
    return found->second;
}

void SafetensorsFile::load_into(const std::string& name, torch::Tensor& tensor) const {
    const TensorInfo& stored = info(name);
    STRATA_CHECK(tensor.sizes() == torch::IntArrayRef(stored.shape), "{} is of another shape", name);
    if (tensor.scalar_type() != stored.dtype || !tensor.is_contiguous() || !tensor.is_cpu()) {
        tensor.copy_(load(name));
        return;
    }
    const std::uint64_t bytes = stored.end - stored.begin;
    if (bytes > 0) std::memcpy(tensor.mutable_data_ptr(), file_.bytes().data() + data_begin_ + stored.begin, bytes);
}

torch::Tensor SafetensorsFile::load(const std::string& name) const {
    const TensorInfo& info = this->info(name);
    torch::Tensor tensor = torch::empty(info.shape, info.dtype);
    const std::uint64_t bytes = info.end - info.begin;
    if (bytes > 0) std::memcpy(tensor.mutable_data_ptr(), file_.bytes().data() + data_begin_ + info.begin, bytes);
    return tensor;
}

void read_tensors(const SafetensorsFile& file, const std::vector<std::pair<std::string, torch::Tensor>>& tensors) {
    const torch::NoGradGuard no_grad;
    for (const auto& [name, tensor] : tensors) {
        const TensorInfo& stored = file.info(name);
        if (stored.dtype != tensor.scalar_type() || tensor.sizes() != torch::IntArrayRef(stored.shape)) {
            user_error("{}: tensor '{}' is not of the model's type and shape; it is another model's",
                       file.path().string(), name);
        }
        torch::Tensor target = tensor;
        file.load_into(name, target);
    }
}

}  // namespace strata::models
