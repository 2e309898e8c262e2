#include "apps/strata/input_files.h"

#include <fmt/format.h>

#include <filesystem>
#include <set>

#include "apps/strata/experiment_data.h"
#include "dist/checksums.h"

namespace strata::app {
namespace fs = std::filesystem;

std::string input_files_text(const Config& config, const Experiment& experiment) {
    std::set<fs::path> files;
    if (fs::is_regular_file(experiment.model_source)) files.insert(experiment.model_source);
    for (const fs::path& folder : {experiment.model_source, experiment.tokenizer_folder}) {
        for (const char* name : {"config.json", "model.safetensors", "vocab.txt", "tokenizer_config.json"}) {
            if (fs::is_regular_file(folder / name)) files.insert(folder / name);
        }
    }
    const std::pair<const std::string&, data::Split> sources[] = {{config.train_file, data::Split::train},
                                                                  {config.validation_file, data::Split::validation},
                                                                  {config.test_file, data::Split::test}};
    for (const auto& [source, split] : sources) {
        if (source.empty()) continue;
        for (const data::SplitFile& file : files_of(config, source, split)) files.insert(file.path);
    }
    std::string text;
    for (const fs::path& file : files) text += fmt::format("{} {}\n", file.string(), dist::hash_file(file));
    return text;
}

}  // namespace strata::app
