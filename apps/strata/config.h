// Everything a user can set, typed, with its default. options.cpp binds each member to its one name.
//
// Names and defaults are those of Hugging Face's TrainingArguments and run_glue.py wherever they have one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace strata::app {

struct Config {
    // Model
    std::string model_name_or_path;
    std::string manifest;
    bool ignore_mismatched_sizes = false;
    std::optional<double> hidden_dropout_prob;
    std::optional<double> attention_probs_dropout_prob;
    bool frozen_dropout = false;

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
    std::optional<std::int64_t> max_eval_samples;
    bool shuffle = true;

    // Run
    std::string output_dir;
    bool overwrite_output_dir = false;
    std::string resume_from_checkpoint;
    bool allow_changes = false;
    std::int64_t seed = 42;
    double num_train_epochs = 3.0;
    std::int64_t max_steps = -1;
    std::int64_t per_device_train_batch_size = 8;
    std::int64_t per_device_eval_batch_size = 8;
    std::int64_t gradient_accumulation_steps = 1;

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
    double warmup_steps = 0;
    double warmup_ratio = 0;
    std::int64_t zero_stage = 1;

    // Groups
    std::optional<double> layer_decay;
    std::string policy = "single";
    std::optional<double> decay;
    std::string convention = "standard";
    std::optional<double> backbone_multiplier;
    bool pooler_with_head = true;
    std::vector<std::string> no_decay;

    // Logging, evaluation, saving
    std::int64_t logging_steps = 500;
    std::string eval_strategy;
    std::optional<std::int64_t> eval_steps;
    std::string save_strategy = "steps";
    std::int64_t save_steps = 500;
    std::int64_t save_total_limit = 0;
    std::string progress = "auto";

    // Outputs of plan and predict
    std::string output;
    std::string json;
    std::string csv;
    std::string explain;
    std::int64_t ranks = 1;

    // checkpoint inspect
    std::string checkpoint;
};

/// Longest input in tokens where the user sets none, if the model has as many positions: run_glue.py's.
inline constexpr std::int64_t default_sequence_limit = 128;

/// Throws UserError, naming the key and the remedy, for values out of range and combinations that contradict.
void validate(const Config& config);

}  // namespace strata::app
