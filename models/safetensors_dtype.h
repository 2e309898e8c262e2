// The format's names for element types, and torch's.
#pragma once

#include <torch/types.h>

#include <optional>
#include <string_view>
#include <utility>

namespace strata::models {

inline constexpr std::pair<std::string_view, torch::ScalarType> safetensors_dtypes[] = {
    {"F32", torch::kFloat32},
    {"F16", torch::kFloat16},
    {"BF16", torch::kBFloat16},
    {"F64", torch::kFloat64},
    {"I64", torch::kInt64},
    {"I32", torch::kInt32},
    {"I16", torch::kInt16},
    {"I8", torch::kInt8},
    {"U8", torch::kUInt8},
    {"U16", torch::kUInt16},
    {"U32", torch::kUInt32},
    {"U64", torch::kUInt64},
    {"BOOL", torch::kBool},
    {"F8_E4M3", torch::kFloat8_e4m3fn},
    {"F8_E5M2", torch::kFloat8_e5m2},
    {"C64", torch::kComplexFloat},
};

inline std::optional<torch::ScalarType> dtype_named(std::string_view name) {
    for (const auto& [known, dtype] : safetensors_dtypes) {
        if (known == name) return dtype;
    }
    return std::nullopt;
}

/// Empty for types that the format has not.
inline std::string_view dtype_name(torch::ScalarType wanted) {
    for (const auto& [name, dtype] : safetensors_dtypes) {
        if (dtype == wanted) return name;
    }
    return {};
}

}  // namespace strata::models
