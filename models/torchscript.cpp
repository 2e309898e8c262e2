#include "models/torchscript.h"

#include <torch/csrc/jit/runtime/graph_executor.h>

#include <fmt/ranges.h>
#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/file.h"
#include "models/hf_folder.h"
#include "models/padded_tokens.h"
#include "models/script_copy.h"

namespace strata::models {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* notes_name = "strata.json";
constexpr std::int64_t whole_module = 0;  // the only dropout site

/// The last line of what torch has to say: the interpreter puts the module's code above it.
std::string last_line(std::string text) {
    while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
    const auto newline = text.rfind('\n');
    return newline == std::string::npos ? text : text.substr(newline + 1);
}

std::string message_of(const std::exception& error) {
    const auto* torch_error = dynamic_cast<const c10::Error*>(&error);
    return last_line(torch_error != nullptr ? torch_error->what_without_backtrace() : error.what());
}

std::optional<ScriptNotes> parse_notes(const std::string& text, const fs::path& file) {
    if (text.empty()) return std::nullopt;
    try {
        const json notes = json::parse(text);
        return ScriptNotes{notes.at("labels"), notes.at("image_mean"), notes.at("image_std")};
    } catch (const json::exception& error) {
        user_error("{}: its extra file {} is not what strata writes: {}", file.string(), notes_name, error.what());
    }
}

std::string notes_text(const ScriptNotes& notes) {
    return json{{"labels", notes.labels}, {"image_mean", notes.image_mean}, {"image_std", notes.image_std}}.dump(2);
}

torch::jit::Module load(const fs::path& file, std::optional<ScriptNotes>& notes) {
    const MappedFile mapped(file);  // so that a missing file is told as everywhere else
    if (!mapped.text().starts_with("PK")) {
        user_error("{}: is not a TorchScript file; write one with torch.jit.script(model).save(\"{}\")", file.string(),
                   file.filename().string());
    }
    try {
        torch::jit::ExtraFilesMap extra = {{notes_name, ""}};
        torch::jit::Module module = torch::jit::load(file.string(), torch::kCPU, extra);
        notes = parse_notes(extra.at(notes_name), file);
        return module;
    } catch (const c10::Error& error) {
        user_error(
            "{}: cannot be read as TorchScript ({}). torch.save writes something else; write it with "
            "torch.jit.script(model).save(\"{}\")",
            file.string(), message_of(error), file.filename().string());
    }
}

bool is_text_argument(const std::string& name) {
    return name == "input_ids" || name == "attention_mask" || name == "token_type_ids";
}

std::int64_t samples_in(const Input& input) {
    if (const auto* tokens = std::get_if<PackedInput>(&input)) return tokens->sequences();
    return std::get<DenseInput>(input).values.size(0);
}

std::int64_t first_position(const Input& input) {
    return std::visit([](const auto& batch) { return batch.sample_positions.front(); }, input);
}

std::string shape_text(torch::IntArrayRef shape) {
    return fmt::format("[{}]", fmt::join(shape, ", "));
}

}  // namespace

TorchScriptModel::TorchScriptModel(const fs::path& file) : file_(file), module_(load(file, notes_)) {
    read_signature();
    require_parameters();
    collect_parts(module_, -1);
}

void TorchScriptModel::read_signature() {
    const auto forward = module_.find_method("forward");
    if (!forward) user_error("{}: the module has no forward", file_.string());
    std::vector<std::string> names;
    std::vector<std::string> others;
    for (const auto& argument : forward->function().getSchema().arguments()) {
        if (argument.name() == "self") continue;
        names.push_back(argument.name());
        if (is_text_argument(argument.name())) {
            text_arguments_.push_back(argument.name());
        } else if (!argument.default_value()) {
            others.push_back(argument.name());
        }
    }
    const bool text = std::find(names.begin(), names.end(), "input_ids") != names.end();
    if (text ? others.empty() : others.size() == 1 && text_arguments_.empty()) return;
    user_error(
        "{}: forward takes ({}); strata gives one tensor of numbers, or input_ids with attention_mask and "
        "token_type_ids where they are asked for. Wrap the module in one whose forward takes these",
        file_.string(), fmt::join(names, ", "));
}

void TorchScriptModel::require_parameters() const {
    const NamedTensors parameters = named_parameter_list();
    if (parameters.empty()) {
        user_error(
            "{}: the module has no parameters to train; torch.jit.freeze and traces of functions turn them into "
            "constants, so save the module as it is",
            file_.string());
    }
    for (const auto& [name, parameter] : parameters) {
        if (parameter.scalar_type() == torch::kFloat32) continue;
        user_error("{}: parameter {} has type {}; strata trains fp32: save the module after .float()", file_.string(),
                   name, torch::toString(parameter.scalar_type()));
    }
}

void TorchScriptModel::collect_parts(const torch::jit::Module& module, std::ptrdiff_t parent) {
    Part part{module, parent, {}, module.hasattr("running_mean") && module.attr("running_mean").isTensor()};
    for (const torch::Tensor& parameter : module.parameters()) part.parameters.push_back(parameter);
    const auto index = static_cast<std::ptrdiff_t>(parts_.size());
    parts_.push_back(std::move(part));
    for (const torch::jit::Module& child : module.children()) collect_parts(child, index);
}

/// What has no parameters of its own, as dropout, is as frozen as what it lies in.
void TorchScriptModel::set_training(bool training) {
    std::vector<bool> frozen;
    for (Part& part : parts_) {
        const auto learns = [](const torch::Tensor& parameter) { return parameter.requires_grad(); };
        const bool of_parent = part.parent >= 0 && frozen[static_cast<std::size_t>(part.parent)];
        frozen.push_back(
            part.parameters.empty() ? of_parent : std::none_of(part.parameters.begin(), part.parameters.end(), learns));
        if (!part.module.hasattr("training")) continue;
        const bool when_frozen = part.has_statistics ? statistics_in_frozen() : dropout_in_frozen();
        part.module.setattr("training", training && (!frozen.back() || when_frozen));
    }
}

torch::Tensor TorchScriptModel::forward(const Input& input, const std::optional<DropoutKey>& dropout) {
    if (before_reading()) {
        std::vector<torch::Tensor> all;
        for (const torch::Tensor& parameter : module_.parameters()) all.push_back(parameter);
        before_reading()(all);
    }
    set_training(dropout.has_value());
    if (dropout) {
        const DropoutSite site{*dropout, whole_module, 0.0};
        auto generator = at::globalContext().defaultGenerator(torch::kCPU);
        const std::lock_guard<std::mutex> lock(generator.mutex());
        generator.set_current_seed(dropout_sample_key(site, first_position(input)));
    }
    const torch::jit::GraphOptimizerEnabledGuard no_fusion(false);
    return rows(call(input), samples_in(input));
}

torch::jit::IValue TorchScriptModel::call(const Input& input) {
    const auto* numbers = std::get_if<DenseInput>(&input);
    STRATA_CHECK((numbers == nullptr) == takes_text(), "the data is not what the module takes");
    std::string given;
    try {
        if (numbers != nullptr) {
            given = shape_text(numbers->values.sizes());
            return module_.forward({numbers->values});
        }
        const PaddedTokens tokens = pad(std::get<PackedInput>(input));
        given = shape_text(tokens.input_ids.sizes());
        torch::jit::Kwargs arguments;
        for (const std::string& name : text_arguments_) {
            arguments[name] = name == "input_ids"        ? tokens.input_ids
                              : name == "attention_mask" ? tokens.attention_mask
                                                         : tokens.token_type_ids;
        }
        return module_.forward({}, arguments);
    } catch (const std::exception& error) {
        user_error("{}: forward failed on a batch of shape {}: {}", file_.string(), given, message_of(error));
    }
}

torch::Tensor TorchScriptModel::rows(const torch::jit::IValue& output, std::int64_t samples) const {
    torch::jit::IValue first = output;
    if (output.isTuple() && !output.toTupleRef().elements().empty()) first = output.toTupleRef().elements()[0];
    if (!first.isTensor()) {
        user_error("{}: forward gives {}; strata needs a tensor [batch, outputs]", file_.string(), output.tagKind());
    }
    const torch::Tensor& logits = first.toTensor();
    if (logits.dim() != 2 || logits.size(0) != samples || !logits.is_floating_point()) {
        user_error("{}: forward gives {} {} for {} samples; strata needs [batch, outputs] of floating point",
                   file_.string(), torch::toString(logits.scalar_type()), shape_text(logits.sizes()), samples);
    }
    return logits.to(torch::kFloat32);
}

NamedTensors TorchScriptModel::named_parameter_list() const {
    NamedTensors list;
    for (const auto& item : module_.named_parameters()) list.emplace_back(item.name, item.value);
    return list;
}

NamedTensors TorchScriptModel::named_buffer_list() const {
    NamedTensors list;
    for (const auto& item : module_.named_buffers()) list.emplace_back(item.name, item.value);
    return list;
}

FolderWriter TorchScriptModel::folder_writer(const fs::path& tokenizer_source) const {
    torch::jit::Module trained = copy_of_module(module_);
    trained.eval();
    torch::jit::ExtraFilesMap extra;
    if (notes_) extra[notes_name] = notes_text(*notes_);
    return [trained, extra, tokenizer_source](const fs::path& folder, const NamedTensors& parameters) {
        const torch::NoGradGuard no_gradient;
        auto value = parameters.begin();
        for (const auto& item : trained.named_parameters()) {
            STRATA_CHECK(value != parameters.end() && value->first == item.name, "no value for {}", item.name);
            item.value.copy_((value++)->second);
        }
        NamedTensors tensors = parameters;
        for (const auto& item : trained.named_buffers()) tensors.emplace_back(item.name, item.value);
        write_model_folder(folder, tensors, tokenizer_source);
        std::ostringstream file;
        trained.save(file, extra);
        write_file_atomically(folder / "model.pt", file.str());
    };
}

}  // namespace strata::models
