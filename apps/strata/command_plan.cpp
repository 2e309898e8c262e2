// strata plan: groups, rates and memory before any run, from a model folder's config or a manifest alone.
#include <cstdio>
#include <string>

#include "apps/strata/commands.h"
#include "apps/strata/experiment.h"
#include "apps/strata/model_costs.h"
#include "apps/strata/output_file.h"
#include "apps/strata/precision.h"
#include "apps/strata/train_plan.h"
#include "core/error.h"
#include "core/file.h"
#include "data/dataset.h"
#include "data/images.h"
#include "models/hf_folder.h"
#include "models/torchscript.h"
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

optim::Manifest planned_manifest(const Config& config) {
    const int given = !config.manifest.empty() + !config.model_name_or_path.empty() + !config.torchscript.empty();
    if (given != 1) {
        user_error("strata plan needs one of --model_name_or_path FOLDER, --torchscript FILE and --manifest FILE");
    }
    if (!config.torchscript.empty()) return manifest_of(models::TorchScriptModel(config.torchscript));
    return config.manifest.empty() ? manifest_of_model(config) : optim::read_manifest(config.manifest);
}

std::optional<std::int64_t> sample_count(const Config& config) {
    if (config.train_file.empty()) return config.train_samples;
    if (!config.torchscript.empty() && !models::TorchScriptModel(config.torchscript).takes_text()) {
        return data::read_images(config.train_file, data::Split::train, config.max_train_samples.value_or(-1)).size();
    }
    return data::read_dataset(config.train_file, read_options(config, data::Split::train)).size();
}

/// The plan is then for the cluster's ranks.
optim::Cluster cluster_of(Config& config) {
    const optim::Cluster cluster = optim::parse_cluster(config.cluster);
    if (config.ranks != 1 && config.ranks != cluster.ranks()) {
        user_error("--ranks {} and --cluster with {} ranks; leave --ranks out", config.ranks, cluster.ranks());
    }
    config.ranks = cluster.ranks();
    config.ranks_per_host = cluster.gpus;
    return cluster;
}

}  // namespace

int run_plan(const Config& given) {
    Config config = given;
    require_folder_of(config.json, "json");
    require_folder_of(config.csv, "csv");
    require_folder_of(config.svg, "svg");
    const optim::Manifest manifest = planned_manifest(config);
    const auto samples = sample_count(config);
    if (!samples && config.max_steps < 0 && !stages_set_length(config)) {
        config.max_steps = steps_without_data;
        std::printf("No --train_file, --train_samples or --max_steps: rates are shown over %lld updates.\n\n",
                    static_cast<long long>(steps_without_data));
    }
    if (chooses_precision(config)) {
        const std::string line = settle_precision(config, planned_bf16(config));
        if (config.explain.empty()) std::printf("%s\n\n", line.c_str());
    } else {
        settle_precision(config, {});
    }
    std::optional<optim::Cluster> cluster;
    if (!config.cluster.empty()) cluster = cluster_of(config);
    const int ranks = static_cast<int>(config.ranks);
    const optim::Plan plan = make_train_plan(config, manifest, run_length(config, samples, ranks), ranks);
    if (!config.explain.empty()) {
        std::printf("%s\n", optim::explain(plan, config.explain).c_str());
        return exit_done;
    }
    const auto costs = model_costs(config, plan, samples);
    std::printf("%s", optim::plan_table(plan, costs).c_str());
    nlohmann::json json = optim::plan_json(plan, costs);
    if (cluster) {
        const auto tokens = costs ? std::optional(costs->sequences * costs->length) : std::nullopt;
        const auto steps = optim::predict(plan, *cluster, tokens);
        std::printf("%s", optim::cluster_table(*cluster, steps).c_str());
        json["cluster"] = optim::cluster_json(*cluster, steps);
    }
    if (!config.json.empty()) write_file_atomically(config.json, json.dump(2) + "\n");
    if (!config.csv.empty()) write_file_atomically(config.csv, optim::plan_csv(plan));
    if (!config.svg.empty()) write_file_atomically(config.svg, optim::plan_svg(plan));
    return exit_done;
}

}  // namespace strata::app
