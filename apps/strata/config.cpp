#include "apps/strata/config.h"

#include "core/error.h"

namespace strata::app {
namespace {

void require_positive(std::int64_t value, const char* name) {
    if (value < 1) user_error("{} is {}; it must be at least 1", name, value);
}

void require_share(double value, const char* name) {
    if (!(value >= 0.0 && value < 1.0)) user_error("{} is {}; it must be at least 0 and below 1", name, value);
}

void require_not_negative(double value, const char* name) {
    if (!(value >= 0.0)) user_error("{} is {}; it must not be negative", name, value);
}

void validate_update(const Config& config) {
    require_not_negative(config.learning_rate, "learning_rate");
    require_not_negative(config.weight_decay, "weight_decay");
    require_not_negative(config.max_grad_norm, "max_grad_norm");
    require_share(config.adam_beta1, "adam_beta1");
    require_share(config.adam_beta2, "adam_beta2");
    require_share(config.momentum, "momentum");
    if (!(config.adam_epsilon > 0)) user_error("adam_epsilon is {}; it must be above 0", config.adam_epsilon);
    if (config.nesterov && config.momentum == 0) user_error("nesterov needs a momentum above 0");
    if (config.optim == "adamw" && config.momentum != 0) {
        user_error("momentum belongs to --optim sgd; AdamW's is adam_beta1");
    }
    require_not_negative(config.warmup_steps, "warmup_steps");
    require_not_negative(config.warmup_ratio, "warmup_ratio");
    if (config.warmup_ratio > 1)
        user_error("warmup_ratio is {}; it is a share of all updates, at most 1", config.warmup_ratio);
    if (config.warmup_steps > 0 && config.warmup_ratio > 0) {
        user_error("warmup_steps and warmup_ratio are both set; keep one");
    }
    if (config.zero_stage != 1) {
        user_error("zero_stage is {}; this version has 1: optimizer state in slices, one a rank", config.zero_stage);
    }
}

void validate_groups(const Config& config) {
    if (config.layer_decay && config.policy != "single" && config.policy != "layer-decay") {
        user_error("layer_decay is short for policy \"layer-decay\", but policy is \"{}\"; keep one", config.policy);
    }
    if (config.layer_decay && config.decay && *config.layer_decay != *config.decay) {
        user_error("layer_decay is {} and [groups] decay is {}; keep one", *config.layer_decay, *config.decay);
    }
    const bool layered = config.layer_decay || config.policy == "layer-decay";
    if (config.decay && !layered)
        user_error("[groups] decay belongs to policy \"layer-decay\", but policy is \"{}\"", config.policy);
    if (config.convention != "standard" && !layered) {
        user_error("[groups] convention belongs to policy \"layer-decay\", but policy is \"{}\"", config.policy);
    }
    if (config.backbone_multiplier && (layered || config.policy != "two-part")) {
        user_error("[groups] backbone_multiplier belongs to policy \"two-part\", but policy is \"{}\"",
                   layered ? "layer-decay" : config.policy);
    }
}

void validate_run(const Config& config) {
    require_positive(config.per_device_train_batch_size, "per_device_train_batch_size");
    require_positive(config.per_device_eval_batch_size, "per_device_eval_batch_size");
    require_positive(config.gradient_accumulation_steps, "gradient_accumulation_steps");
    require_positive(config.logging_steps, "logging_steps");
    require_positive(config.save_steps, "save_steps");
    require_positive(config.ranks, "ranks");
    require_not_negative(static_cast<double>(config.save_total_limit), "save_total_limit");
    require_not_negative(static_cast<double>(config.seed), "seed");
    if (config.eval_steps) require_positive(*config.eval_steps, "eval_steps");
    if (config.max_train_samples) require_positive(*config.max_train_samples, "max_train_samples");
    if (config.max_eval_samples) require_positive(*config.max_eval_samples, "max_eval_samples");
    if (config.max_seq_length && *config.max_seq_length < 3) {
        user_error("max_seq_length is {}; it must be at least 3: [CLS], a token, [SEP]", *config.max_seq_length);
    }
    if (config.max_steps == 0 || config.max_steps < -1) {
        user_error("max_steps is {}; it must be at least 1, or -1 for as many as num_train_epochs gives",
                   config.max_steps);
    }
    if (config.max_steps == -1 && !(config.num_train_epochs > 0)) {
        user_error("num_train_epochs is {}; it must be above 0", config.num_train_epochs);
    }
    if (config.overwrite_output_dir && !config.resume_from_checkpoint.empty()) {
        user_error("overwrite_output_dir starts over and resume_from_checkpoint goes on; keep one");
    }
    if (config.eval_strategy == "steps" && !config.eval_steps) user_error("eval_strategy \"steps\" needs eval_steps");
    if (config.hidden_dropout_prob) require_share(*config.hidden_dropout_prob, "hidden_dropout_prob");
    if (config.attention_probs_dropout_prob) {
        require_share(*config.attention_probs_dropout_prob, "attention_probs_dropout_prob");
    }
}

}  // namespace

void validate(const Config& config) {
    validate_update(config);
    validate_groups(config);
    validate_run(config);
}

}  // namespace strata::app
