// A run directory with made-up content, for the tests of reports.
#pragma once

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/file.h"
#include "optim/plan_output.h"

namespace strata::testing_support {

struct MadeUpRun {
    std::string name = "run";
    std::size_t groups = 3;
    std::string group_prefix = "group_";
    std::int64_t updates = 40;
    std::int64_t logged_each = 1;
    bool stages = false;       ///< the last group alone for the first half
    std::int64_t skipped = 0;  ///< the update that was skipped; 0 for none
    bool weights = true;       ///< weight norms and update ratios are logged
    bool finished = true;
    double shift = 0;  ///< of the loss
};

inline optim::Plan made_up_plan(const MadeUpRun& run) {
    optim::PlanConfig config;
    config.policy.kind = optim::PolicyKind::rules;
    optim::Manifest manifest;
    for (std::size_t g = 0; g < run.groups; ++g) {
        // Names of parameters are plain; those of groups are whatever a user writes.
        manifest.push_back({"layer_" + std::to_string(g) + ".weight", {4, 4}});
        config.policy.rules.push_back({run.group_prefix + std::to_string(g),
                                       {manifest.back().name},
                                       std::pow(0.9, static_cast<double>(run.groups - 1 - g)),
                                       {}});
    }
    config.learning_rate = 1e-3;
    config.schedule.options.warmup_steps = run.updates / 10;
    config.total_steps = run.updates;
    config.world_size = 2;
    if (run.stages) {
        config.stages.resize(2);
        config.stages[0].length = optim::parse_length(std::to_string(run.updates / 2) + "u");
        config.stages[0].freeze_to = -1;
    }
    return optim::make_plan(manifest, config);
}

inline std::filesystem::path make_run(const std::filesystem::path& parent, const MadeUpRun& run) {
    const auto folder = parent / run.name;
    std::filesystem::create_directories(folder);
    const optim::Plan plan = made_up_plan(run);
    write_file_atomically(folder / "plan.json", optim::plan_json(plan).dump());
    write_file_atomically(folder / "provenance.json", R"({"strata": "0.1.0", "ranks": 2, "host": "here"})");
    write_file_atomically(folder / "config.toml",
                          "model_name_or_path = \"models/small\"\ntrain_file = \"train.tsv\"\nmax_grad_norm = 1.0\n"
                          "learning_rate = 0.001\noutput_dir = \"" +
                              run.name + "\"\n");
    std::string metrics;
    for (std::int64_t step = run.logged_each; step <= run.updates; step += run.logged_each) {
        const double t = static_cast<double>(step) / static_cast<double>(run.updates);
        // A wave whose peaks differ, so that thinning has something to lose.
        const double wave = 0.1 * std::sin(static_cast<double>(step) * 1.7);
        nlohmann::json line = {{"step", step},
                               {"epoch", 3 * t},
                               {"loss", 2 - t + wave + run.shift},
                               {"mean_loss", 2 - t + run.shift},
                               {"grad_norm", 1 + wave},
                               {"tokens_per_second", 5000 + 100 * wave},
                               {"seconds", {{"forward", 0.03}, {"backward", 0.06}, {"update", 0.01}}},
                               {"bytes_sent", 1000},
                               {"optimizer_bytes", 2000}};
        if (run.skipped != 0 && step >= run.skipped) line["skipped_steps"] = 1;
        if (run.skipped == step) line["loss"] = nullptr;
        for (std::size_t g = 0; g < run.groups; ++g) {
            const std::string& name = plan.groups[g].name;
            const bool live = plan.trainable(g, step - 1);
            line["lr"][name] = plan.learning_rate(g, step - 1);
            line["group_grad_norm"][name] = live ? 0.5 + wave : 0.0;
            if (!run.weights) continue;
            line["group_weight_norm"][name] = 10.0 + static_cast<double>(g);
            line["group_update_ratio"][name] = live ? 1e-3 * (1 + wave) : 0.0;
        }
        metrics += line.dump() + "\n";
    }
    write_file_atomically(folder / "metrics.jsonl", metrics);
    write_file_atomically(
        folder / "evaluations.jsonl",
        nlohmann::json{{"step", run.updates / 2}, {"eval_accuracy", 0.7}, {"eval_loss", 1.4}, {"eval_runtime", 2.0}}
                .dump() +
            "\n");
    if (run.finished) {
        write_file_atomically(folder / "all_results.json", nlohmann::json{{"eval_accuracy", 0.9 - run.shift},
                                                                          {"eval_loss", 0.8},
                                                                          {"train_loss", 1.2},
                                                                          {"train_runtime", 61.5},
                                                                          {"train_steps", run.updates},
                                                                          {"epoch", 3.0},
                                                                          {"train_tokens_per_second", 5001.0}}
                                                               .dump());
    }
    return folder;
}

}  // namespace strata::testing_support
