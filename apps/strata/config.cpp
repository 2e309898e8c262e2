#include "apps/strata/config.h"

#include <algorithm>

#include "apps/strata/config_places.h"
#include "apps/strata/precision.h"
#include "core/error.h"
#include "core/nearest.h"
#include "optim/plan.h"

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

/// Those of optim::optimizer_options that are not at their defaults.
std::vector<std::string_view> optimizer_options_set(const Config& config) {
    const Config defaults;
    std::vector<std::string_view> set;
    if (config.weight_decay != defaults.weight_decay) set.emplace_back("weight_decay");
    if (config.adam_beta1 != defaults.adam_beta1) set.emplace_back("adam_beta1");
    if (config.adam_beta2 != defaults.adam_beta2) set.emplace_back("adam_beta2");
    if (config.adam_epsilon != defaults.adam_epsilon) set.emplace_back("adam_epsilon");
    if (config.momentum != defaults.momentum) set.emplace_back("momentum");
    if (config.nesterov != defaults.nesterov) set.emplace_back("nesterov");
    return set;
}

void validate_update(const Config& config) {
    check_precision(config);
    require_not_negative(config.learning_rate, "learning_rate");
    require_not_negative(config.max_grad_norm, "max_grad_norm");
    const optim::OptimizerConfig optimizer = optimizer_config(config);
    optim::check_optimizer_options(optimizer.kind, optimizer_options_set(config));
    optim::check_optimizer(optimizer);
    require_not_negative(config.warmup_steps, "warmup_steps");
    require_not_negative(config.warmup_ratio, "warmup_ratio");
    if (config.warmup_ratio > 1)
        user_error("warmup_ratio is {}; it is a share of all updates, at most 1", config.warmup_ratio);
    if (config.warmup_steps > 0 && config.warmup_ratio > 0) {
        user_error("warmup_steps and warmup_ratio are both set; keep one");
    }
    if (config.zero_stage != 1 && config.zero_stage != 2) {
        user_error("zero_stage is {}; it is 1 (optimizer state in slices, one a rank) or 2 (gradients too)",
                   config.zero_stage);
    }
    if (config.ranks_per_host < 0) user_error("ranks_per_host is {}; it must be at least 1", config.ranks_per_host);
    if (config.shard == "node" && config.deterministic) {
        user_error(
            "deterministic needs --shard all: with a copy of the state on each host, gradients are summed host by host "
            "and not in the order of micro-batches");
    }
    if (config.cuda_graph == "true" && config.deterministic) {
        user_error(
            "cuda_graph and deterministic are both true; keep one: a deterministic update's sums are made by the host, "
            "which no CUDA graph holds");
    }
    if (config.micro_batches < 0) user_error("micro_batches is {}; it must be at least 1", config.micro_batches);
    if (config.micro_batches > 0 && !config.deterministic) {
        user_error("micro_batches is for runs with --deterministic true; gradient_accumulation_steps is for others");
    }
    if (config.micro_batches > 0 && config.gradient_accumulation_steps != 1) {
        user_error("micro_batches and gradient_accumulation_steps both say how a step is cut; keep micro_batches");
    }
    if (config.gradient_checkpointing && !config.torchscript.empty()) {
        user_error("gradient_checkpointing is for a model folder: a --torchscript module's layers are not known");
    }
    if (config.deterministic && !config.torchscript.empty()) {
        user_error(
            "deterministic is for models that strata builds itself: a TorchScript module's dropout and BatchNorm "
            "depend on the number of ranks");
    }
}

/// A key of [groups] and the policies that have it.
struct GroupKey {
    const char* name;
    bool (*is_set)(const Config&);
    std::vector<optim::PolicyKind> policies;
    bool shapes_groups;  ///< it says which groups there are, not only their rates: a slice's split has it too
};

const std::vector<GroupKey>& group_keys() {
    using Kind = optim::PolicyKind;
    using C = Config;
    static const std::vector<GroupKey> keys = {
        {"[groups] decay",
         [](const C& c) { return c.decay.has_value(); },
         {Kind::layer_decay, Kind::parameter_decay, Kind::prefix_decay},
         false},
        {"[groups] convention", [](const C& c) { return c.convention != "standard"; }, {Kind::layer_decay}, false},
        {"[groups] backbone_multiplier",
         [](const C& c) { return c.backbone_multiplier.has_value(); },
         {Kind::two_part},
         true},
        {"[groups] pooler_with_head",
         [](const C& c) { return !c.pooler_with_head; },
         {Kind::two_part, Kind::layer_decay},
         true},
        {"[groups] multipliers", [](const C& c) { return !c.multipliers.empty(); }, {Kind::multipliers}, true},
        {"[groups] depth", [](const C& c) { return c.depth.has_value(); }, {Kind::prefix_decay}, true},
        {"[groups] split", [](const C& c) { return !c.split.empty(); }, {Kind::slice}, false},
        {"[groups] low", [](const C& c) { return c.low.has_value(); }, {Kind::slice}, false},
        {"[groups] high", [](const C& c) { return c.high.has_value(); }, {Kind::slice}, false},
        {"[[group]]", [](const C& c) { return !c.group_tables.empty(); }, {Kind::rules, Kind::multipliers}, true},
    };
    return keys;
}

/// "two-part or layer-decay".
std::string one_of(const std::vector<optim::PolicyKind>& policies) {
    std::vector<std::string> names;
    for (const auto policy : policies) names.emplace_back(optim::policy_name(policy));
    return listed(names, "or");
}

void validate_group_keys(const Config& config) {
    const auto policy = optim::parse_policy_kind(effective_policy(config));
    std::optional<optim::PolicyKind> split;
    if (policy == optim::PolicyKind::slice) split = optim::parse_policy_kind(effective_split(config));
    for (const GroupKey& key : group_keys()) {
        const auto has = [&](optim::PolicyKind kind) {
            return std::find(key.policies.begin(), key.policies.end(), kind) != key.policies.end();
        };
        if (!key.is_set(config) || has(policy) || (key.shapes_groups && split && has(*split))) continue;
        user_error("{} belongs to policy {}, but policy is {}{}", key.name, one_of(key.policies),
                   optim::policy_name(policy),
                   split ? fmt::format(" over the groups of {}", optim::policy_name(*split)) : "");
    }
}

void validate_groups(const Config& config) {
    const auto policy = optim::parse_policy_kind(config.policy);
    if (config.layer_decay && policy != optim::PolicyKind::single && policy != optim::PolicyKind::layer_decay) {
        user_error("layer_decay is short for policy \"layer-decay\", but policy is \"{}\"; keep one", config.policy);
    }
    if (config.layer_decay && config.decay && *config.layer_decay != *config.decay) {
        user_error("layer_decay is {} and [groups] decay is {}; keep one", *config.layer_decay, *config.decay);
    }
    validate_group_keys(config);
    if (!config.multipliers.empty() && config.multipliers.size() != 3) {
        user_error("[groups] multipliers has {} numbers; it takes three: of base, extra and head",
                   config.multipliers.size());
    }
    if (!config.multipliers.empty() && !config.group_tables.empty()) {
        user_error("[groups] multipliers and [[group]] tables both say the groups' multipliers; keep one");
    }
    if (config.depth && (*config.depth < 1 || *config.depth > 1000)) {
        user_error("[groups] depth is {}; it must be at least 1: components of the parameters' names", *config.depth);
    }
    if (policy == optim::PolicyKind::slice && !config.high) {
        user_error("policy \"slice\" needs [groups] high: the rate of the last group");
    }
}

void validate_model(const Config& config) {
    for (const auto& [name, values] : {std::pair{"image_mean", &config.image_mean}, {"image_std", &config.image_std}}) {
        if (!values->empty() && config.torchscript.empty())
            user_error("{} is for images, and they need a --torchscript module", name);
    }
    for (const double deviation : config.image_std) {
        if (!(deviation > 0)) user_error("image_std has {}; every number must be above 0", deviation);
    }
    if (config.torchscript.empty()) {
        if (!config.tokenizer_name.empty())
            user_error("tokenizer_name goes with --torchscript; a model folder has its own tokenizer");
        return;
    }
    if (!config.model_name_or_path.empty())
        user_error("model_name_or_path and torchscript both name a model; keep one");
    if (config.hidden_dropout_prob || config.attention_probs_dropout_prob || config.ignore_mismatched_sizes) {
        user_error("{} is for a model folder; a --torchscript module has what it was saved with",
                   config.hidden_dropout_prob            ? "hidden_dropout_prob"
                   : config.attention_probs_dropout_prob ? "attention_probs_dropout_prob"
                                                         : "ignore_mismatched_sizes");
    }
}

void validate_stages(const Config& config) {
    const int ways = (config.stage_tables.empty() ? 0 : 1) + (config.gradual ? 1 : 0) + (config.fine_tune ? 1 : 0);
    const Config defaults;
    const bool own_schedule = config.lr_scheduler_type != defaults.lr_scheduler_type ||
                              !config.schedule_figures.empty() || config.warmup_steps > 0 || config.warmup_ratio > 0;
    if (config.fine_tune && own_schedule) {
        user_error(
            "[fine_tune] brings fastai's one_cycle schedules: leave lr_scheduler_type, its figures and the warm-up "
            "out, or write its two stages as [[stage]] tables");
    }
    if (ways > 1) user_error("stages are given in {} ways: of [[stage]], [gradual] and [fine_tune], keep one", ways);
}

void validate_range_test(const Config& config) {
    optim::check_range_test(range_test_of(config));
    if (config.each_group && !config.range_group.empty()) {
        user_error("each_group tests every group, group one alone ('{}'); keep one", config.range_group);
    }
}

/// More than a century of seconds is no limit, and no number of milliseconds that a clock counts.
void validate_time_limits(const Config& config) {
    constexpr double most = 4e9;
    if (!(config.ddp_timeout > 0 && config.ddp_timeout <= most))
        user_error("ddp_timeout is {}; it must be a number of seconds above 0, at most {}", config.ddp_timeout, most);
    if (!(config.heartbeat_timeout == 0 || (config.heartbeat_timeout >= 1 && config.heartbeat_timeout <= most))) {
        user_error("heartbeat_timeout is {}; it must be a number of seconds, at least 1 and at most {}, or 0 for none",
                   config.heartbeat_timeout, most);
    }
}

void validate_run(const Config& config) {
    validate_time_limits(config);
    require_positive(config.per_device_train_batch_size, "per_device_train_batch_size");
    require_positive(config.per_device_eval_batch_size, "per_device_eval_batch_size");
    require_positive(config.gradient_accumulation_steps, "gradient_accumulation_steps");
    require_positive(config.logging_steps, "logging_steps");
    require_positive(config.save_steps, "save_steps");
    require_positive(config.ranks, "ranks");
    require_positive(config.bench_steps, "steps");
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
    if (config.num_train_epochs != -1 && !(config.num_train_epochs > 0)) {
        user_error("num_train_epochs is {}; it must be above 0, or -1 for as many as the stages make, else {}",
                   config.num_train_epochs, default_train_epochs);
    }
    if (config.train_samples) require_positive(*config.train_samples, "train_samples");
    if (config.train_samples && !config.train_file.empty()) {
        user_error("train_samples stands for a train_file that is not there yet; keep one");
    }
    if (config.overwrite_output_dir && !config.resume_from_checkpoint.empty()) {
        user_error("overwrite_output_dir starts over and resume_from_checkpoint goes on; keep one");
    }
    if (config.eval_strategy == "steps" && !config.eval_steps) user_error("eval_strategy \"steps\" needs eval_steps");
    if (config.cache_frozen == "true" && config.frozen_dropout) {
        user_error(
            "cache_frozen keeps the outputs of a frozen backbone, but with frozen_dropout they are never the same "
            "twice; keep one");
    }
    if (config.hidden_dropout_prob) require_share(*config.hidden_dropout_prob, "hidden_dropout_prob");
    if (config.attention_probs_dropout_prob) {
        require_share(*config.attention_probs_dropout_prob, "attention_probs_dropout_prob");
    }
}

/// Where an evaluation and a checkpoint must be of the same update, both have to come at the same updates.
void validate_best_model(const Config& config) {
    if (!config.load_best_model_at_end) return;
    const std::string evaluates = eval_strategy_of(config);
    if (evaluates != config.save_strategy) {
        user_error(
            "load_best_model_at_end needs an evaluation for each checkpoint, but eval_strategy is \"{}\" and "
            "save_strategy is \"{}\"; make them match",
            evaluates, config.save_strategy);
    }
    if (evaluates == "no") {
        user_error(
            "load_best_model_at_end needs evaluations and checkpoints, but eval_strategy and save_strategy are \"no\"");
    }
    if (evaluates == "steps" && config.save_steps % *config.eval_steps != 0) {
        user_error(
            "load_best_model_at_end needs an evaluation for each checkpoint, but save_steps {} is not a multiple of "
            "eval_steps {}",
            config.save_steps, *config.eval_steps);
    }
}

}  // namespace

std::string eval_strategy_of(const Config& config) {
    if (!config.eval_strategy.empty()) return config.eval_strategy;
    return config.eval_steps ? "steps" : "no";
}

optim::OptimizerConfig optimizer_config(const Config& config) {
    optim::OptimizerConfig optimizer;
    optimizer.kind = optim::parse_optimizer_kind(config.optim);
    optimizer.beta1 = config.adam_beta1;
    optimizer.beta2 = config.adam_beta2;
    optimizer.epsilon = config.adam_epsilon;
    optimizer.weight_decay = config.weight_decay;
    optimizer.momentum = config.momentum;
    optimizer.nesterov = config.nesterov;
    return optimizer;
}

double train_epochs(const Config& config) {
    return config.num_train_epochs > 0 ? config.num_train_epochs : default_train_epochs;
}

bool stages_set_length(const Config& config) {
    return !config.stage_tables.empty() &&
           std::all_of(config.stage_tables.begin(), config.stage_tables.end(), [](const StageTable& stage) {
               return !stage.length.empty() && optim::parse_length(stage.length).unit != optim::Length::Unit::percent;
           });
}

std::string effective_policy(const Config& config) {
    if (config.layer_decay) return "layer-decay";
    return config.policy == "single" && !config.group_tables.empty() ? "rules" : config.policy;
}

std::string effective_split(const Config& config) {
    if (!config.split.empty()) return config.split;
    return config.group_tables.empty() ? "layer-decay" : "rules";
}

optim::RangeTestConfig range_test_of(const Config& config) {
    return {config.start_lr, config.end_lr, config.num_it, config.stop_div};
}

void validate(const Config& config) {
    naming_places(config, [&] {
        validate_update(config);
        validate_groups(config);
        validate_model(config);
        validate_stages(config);
        validate_range_test(config);
        validate_run(config);
        validate_best_model(config);
    });
}

}  // namespace strata::app
