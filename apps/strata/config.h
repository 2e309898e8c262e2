// Everything a user can set, typed, with its default. options.cpp binds each member to its one name.
//
// Names and defaults are those of Hugging Face's TrainingArguments and run_glue.py wherever they have one.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "optim/optimizer.h"
#include "optim/range_test.h"

namespace strata::app {

/// Where a table of the configuration file and its keys stand; empty for what no file says. Not part of the
/// configuration: messages alone use it.
struct Places {
    std::string file;
    std::string table;                               ///< "[[stage]] 2"; empty for the options
    std::int64_t line = 0;                           ///< of the table
    std::map<std::string, std::int64_t> lines = {};  ///< of each key
};

// The tables of the file that are not one flag a key. What is empty was not given. config_tables.h reads and writes
// them; train_plan.cpp makes optim's types from them, whose headers say what each value means.

/// [[group]]: optim::GroupRule.
struct GroupTable {
    std::string name;
    std::vector<std::string> match;
    std::optional<double> multiplier;
    std::optional<double> weight_decay;
    std::optional<double> adam_beta1;
    std::optional<double> adam_beta2;
    std::optional<double> adam_epsilon;
    Places places;
};

/// Figures of a schedule by their names in optim::schedule_options(); what is not there has the schedule's default.
using ScheduleFigures = std::map<std::string, double, std::less<>>;

/// [[stage]]: optim::StageConfig. What it does not say of its schedule is the run's; figures too, where it has no kind
/// of its own.
struct StageTable {
    std::string name;
    std::string length;
    std::optional<std::int64_t> freeze_to;
    std::vector<std::string> groups;
    std::optional<double> learning_rate;
    std::vector<double> slice;  ///< low and high, or high alone
    std::string schedule;
    ScheduleFigures figures;
    std::optional<double> warmup_steps;
    std::optional<double> warmup_ratio;
    std::string on_unfreeze;
    Places places;
};

/// [gradual]: optim::GradualConfig.
struct GradualTable {
    std::string each;
    std::string on_unfreeze;
    Places places;
};

/// [fine_tune]: optim::FineTuneConfig.
struct FineTuneTable {
    std::optional<double> freeze_epochs;
    std::optional<double> lr_mult;
    std::optional<double> pct_start;
    std::optional<double> div;
    Places places;
};

struct Config {
    // Model
    std::string model_name_or_path;
    std::string torchscript;
    std::string tokenizer_name;
    std::string manifest;
    bool ignore_mismatched_sizes = false;
    std::optional<double> hidden_dropout_prob;
    std::optional<double> attention_probs_dropout_prob;
    bool frozen_dropout = false;
    bool frozen_batch_norm = false;
    std::string cache_frozen = "auto";

    // Data
    std::string task_name;
    std::string train_file;
    std::string validation_file;
    std::string test_file;
    std::string input;
    std::string encoding = "utf-8";
    std::string header = "auto";
    std::optional<std::int64_t> max_seq_length;  ///< default_sequence_limit where unset; tokenize: no limit
    std::optional<std::int64_t> max_train_samples;
    std::optional<std::int64_t> train_samples;  ///< plan: how many there will be
    std::optional<std::int64_t> max_eval_samples;
    std::vector<double> image_mean;  ///< empty: what the model was trained with, else 0
    std::vector<double> image_std;   ///< empty: what the model was trained with, else 1
    bool shuffle = true;

    // Run
    std::string output_dir;
    bool overwrite_output_dir = false;
    std::string cache_dir;
    std::string resume_from_checkpoint;
    bool allow_changes = false;
    std::int64_t seed = 42;
    std::string device = "auto";
    double num_train_epochs = -1;  ///< -1: as many as the stages make, else default_train_epochs
    std::int64_t max_steps = -1;
    std::int64_t per_device_train_batch_size = 8;
    std::int64_t per_device_eval_batch_size = 8;
    std::int64_t gradient_accumulation_steps = 1;
    double ddp_timeout = 1800;      ///< seconds; dist::WatchLimits::wait
    double heartbeat_timeout = 45;  ///< seconds; dist::WatchLimits::silence

    // Optimizer and schedule
    std::string optim = "adamw";
    double learning_rate = 5e-5;
    double weight_decay = 0.0;
    double adam_beta1 = 0.9;
    double adam_beta2 = 0.999;
    double adam_epsilon = 1e-8;
    double momentum = 0.0;
    bool nesterov = false;
    double max_grad_norm = 1.0;
    std::string lr_scheduler_type = "linear";
    ScheduleFigures schedule_figures;
    double warmup_steps = 0;
    double warmup_ratio = 0;
    std::int64_t zero_stage = 1;
    std::string shard = "all";        ///< or "node"
    std::int64_t ranks_per_host = 0;  ///< 0: as the job finds them
    bool overlap_comm = true;
    bool gradient_checkpointing = false;
    bool deterministic = false;
    std::string bf16 = "auto";  ///< settle_precision puts the answer here
    bool fp16 = false;
    bool stochastic_rounding = false;
    std::optional<bool> tf32;
    std::string cuda_graph = "false";  ///< or "true", "auto"
    std::int64_t micro_batches = 0;    ///< of a step, all ranks'; 0: one for each rank and accumulation step

    // Groups
    std::optional<double> layer_decay;
    std::string policy = "single";
    std::optional<double> decay;
    std::string convention = "standard";
    std::optional<double> backbone_multiplier;
    bool pooler_with_head = true;
    std::vector<double> multipliers;
    std::optional<std::int64_t> depth;
    std::string split;
    std::optional<double> low;
    std::optional<double> high;
    std::vector<std::string> no_decay;
    std::vector<GroupTable> group_tables;

    // Stages
    std::vector<StageTable> stage_tables;
    std::optional<GradualTable> gradual;
    std::optional<FineTuneTable> fine_tune;

    // Range test (lr-find)
    double start_lr = optim::RangeTestConfig{}.start_lr;
    double end_lr = optim::RangeTestConfig{}.end_lr;
    std::int64_t num_it = optim::RangeTestConfig{}.num_it;
    bool stop_div = true;
    std::string range_group;
    bool each_group = false;
    std::string range_stage;

    // bench step
    std::int64_t bench_steps = 20;

    // Logging, evaluation, saving
    std::int64_t logging_steps = 500;
    std::string report_to = "tensorboard";
    std::string eval_strategy;
    std::optional<std::int64_t> eval_steps;
    std::string save_strategy = "steps";
    std::int64_t save_steps = 500;
    std::int64_t save_total_limit = 0;
    bool load_best_model_at_end = false;
    std::string metric_for_best_model;      ///< "loss" where it is needed and not set
    std::optional<bool> greater_is_better;  ///< unset: true unless the metric's name ends in "loss"
    bool async_save = true;
    std::string on_save_error = "continue";
    std::string progress = "auto";

    // Outputs of plan, lr-find, predict and report
    std::string output;
    std::string json;
    std::string csv;
    std::string svg;
    std::string explain;
    std::int64_t ranks = 1;
    std::string cluster;

    // report
    std::vector<std::string> runs;

    // checkpoint …
    std::vector<std::string> checkpoints;
    std::string dtype = "fp32";
    std::string max_shard_size = "5GB";

    Places places;  ///< of the options that the configuration file sets and no flag overrides
};

/// Longest input in tokens where the user sets none, if the model has as many positions: run_glue.py's.
inline constexpr std::int64_t default_sequence_limit = 128;

/// Passes over the training data where neither the user nor the stages say: transformers'.
inline constexpr double default_train_epochs = 3.0;

/// Passes over the training data that were asked for, were max_steps not set.
double train_epochs(const Config& config);

/// True when every [[stage]] has a length of its own in epochs or updates, which together are the run's.
bool stages_set_length(const Config& config);

/// "no", "steps" or "epoch": when to evaluate besides the end.
std::string eval_strategy_of(const Config& config);

/// The update rule and its figures, unchecked.
optim::OptimizerConfig optimizer_config(const Config& config);

/// The policy that makes the groups: `layer_decay` is short for one, [[group]] tables stand for `rules`.
std::string effective_policy(const Config& config);

/// The policy whose groups `slice` gives rates to.
std::string effective_split(const Config& config);

/// What lr-find is to test.
optim::RangeTestConfig range_test_of(const Config& config);

/// Throws UserError, naming the key, its place and the remedy, for values out of range and combinations that
/// contradict.
void validate(const Config& config);

}  // namespace strata::app
