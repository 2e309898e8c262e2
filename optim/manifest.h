// The parameter manifest: the names and shapes of a model's parameters in registration order, input side first.
// It is all a plan needs to know of a model, so a plan can be made and read on a machine that has no weights.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace strata::optim {

struct Parameter {
    std::string name;                 // dotted components: "bert.encoder.layer.0.output.dense.weight"
    std::vector<std::int64_t> shape;  // every extent at least 1; empty for a scalar

    std::int64_t elements() const;
};

using Manifest = std::vector<Parameter>;

/// Reads lines `name<TAB>768x3072` (a scalar is "1"). Empty lines and lines that start with '#' are skipped.
/// Throws UserError naming file and line for a malformed line, a shape that is not one, or a name that came before;
/// naming the file when it holds no parameter.
Manifest read_manifest(const std::filesystem::path& path);

/// Throws UserError when the manifest is empty, a name is malformed or there twice, or a shape is not one.
void check_manifest(const Manifest& manifest);

/// "768x3072"; "1" for a scalar.
std::string shape_text(const std::vector<std::int64_t>& shape);

}  // namespace strata::optim
