// strata plan: groups, rates and memory before any run, from a model folder's config or a manifest alone.
#include <cstdio>
#include <string>

#include "apps/strata/commands.h"
#include "apps/strata/experiment.h"
#include "apps/strata/train_plan.h"
#include "core/error.h"
#include "core/file.h"
#include "data/dataset.h"
#include "models/hf_folder.h"
#include "optim/plan_output.h"

namespace strata::app {
namespace {

/// Steps to show rates over when neither data nor max_steps say how long the run is.
constexpr std::int64_t steps_without_data = 1000;

optim::Manifest manifest_of_model(const Config& config) {
    models::BertConfig model = models::read_bert_config(config.model_name_or_path);
    // A new head has as many outputs as the data have labels.
    if (!config.task_name.empty() || !config.train_file.empty()) {
        const auto labels = config.task_name.empty()
                                ? data::labels_of(config.train_file, read_options(config, data::Split::train))
                                : data::task_named(config.task_name).labels;
        model.set_labels(labels.names, labels.regression);
    }
    optim::Manifest manifest;
    for (const auto& [name, shape] : models::parameter_shapes(model)) manifest.push_back({name, shape});
    return manifest;
}

optim::Manifest manifest_of(const Config& config) {
    if (config.manifest.empty() == config.model_name_or_path.empty()) {
        user_error("strata plan needs --model_name_or_path FOLDER or --manifest FILE, and not both");
    }
    return config.manifest.empty() ? manifest_of_model(config) : optim::read_manifest(config.manifest);
}

std::optional<std::int64_t> sample_count(const Config& config) {
    if (config.train_file.empty()) return config.train_samples;
    return data::read_dataset(config.train_file, read_options(config, data::Split::train)).size();
}

}  // namespace

int run_plan(const Config& given) {
    Config config = given;
    const optim::Manifest manifest = manifest_of(config);
    const auto samples = sample_count(config);
    if (!samples && config.max_steps < 0 && !stages_set_length(config)) {
        config.max_steps = steps_without_data;
        std::printf("No --train_file, --train_samples or --max_steps: rates are shown over %lld updates.\n\n",
                    static_cast<long long>(steps_without_data));
    }
    const int ranks = static_cast<int>(config.ranks);
    const optim::Plan plan = make_train_plan(config, manifest, run_length(config, samples, ranks), ranks);
    if (!config.explain.empty()) {
        std::printf("%s\n", optim::explain(plan, config.explain).c_str());
        return exit_done;
    }
    std::printf("%s", optim::plan_table(plan).c_str());
    if (!config.json.empty()) write_file_atomically(config.json, optim::plan_json(plan).dump(2) + "\n");
    if (!config.csv.empty()) write_file_atomically(config.csv, optim::plan_csv(plan));
    if (!config.svg.empty()) write_file_atomically(config.svg, optim::plan_svg(plan));
    return exit_done;
}

}  // namespace strata::app
