#include "apps/strata/option_topics.h"
#include "apps/strata/schedule_keys.h"
#include "optim/plan.h"

namespace strata::app {
namespace {

// Names that optim parses are optim's to refuse; the table lists them for --help.
void check_optimizer(std::string_view name) {
    optim::parse_optimizer_kind(name);
}

void check_schedule(std::string_view name) {
    optim::parse_schedule_kind(name);
}

void check_policy(std::string_view name) {
    optim::parse_policy_kind(name);
}

template <typename Names>
std::vector<std::string> names_of(const Names& names) {
    return {names.begin(), names.end()};
}

/// A slice divides the groups of any other policy.
std::vector<std::string> split_names() {
    std::vector<std::string> names = optim::policy_names();
    std::erase(names, optim::policy_name(optim::PolicyKind::slice));
    names.insert(names.begin(), "");
    return names;
}

}  // namespace

void add_optimizer_options(std::vector<Option>& all) {
    const OptionTopic add(all, "Optimizer and schedule");
    add("optim", &Config::optim, plan_commands, "Update rule")
        .one_of(names_of(optim::optimizer_names))
        .checked_by(check_optimizer);
    add("learning_rate", &Config::learning_rate, plan_commands, "Peak rate of a group with multiplier 1")
        .called_also("lr");
    add("weight_decay", &Config::weight_decay, plan_commands,
        "Decay of weights; biases and LayerNorm weights do not decay");
    add("adam_beta1", &Config::adam_beta1, plan_commands, "AdamW's decay of the first moment");
    add("adam_beta2", &Config::adam_beta2, plan_commands, "AdamW's decay of the second moment");
    add("adam_epsilon", &Config::adam_epsilon, plan_commands, "AdamW's epsilon");
    add("momentum", &Config::momentum, plan_commands, "SGD's momentum");
    add("nesterov", &Config::nesterov, plan_commands, "SGD with Nesterov momentum");
    add("max_grad_norm", &Config::max_grad_norm, step_commands, "Clip the global gradient norm; 0: do not");
    add("lr_scheduler_type", &Config::lr_scheduler_type, plan_commands,
        "How the rate moves over the run, or over a stage that has no schedule of its own")
        .one_of(names_of(optim::schedule_names))
        .checked_by(check_schedule);
    add("warmup_steps", &Config::warmup_steps, plan_commands, "Updates of warm-up; below 1: a share of all");
    add("warmup_ratio", &Config::warmup_ratio, plan_commands, "Share of all updates that warm up");
    for (auto& key : schedule_keys(&Config::schedule_figures)) {
        add(key.name, std::move(key.slot), plan_commands, key.help);
    }
}

void add_group_options(std::vector<Option>& all) {
    const OptionTopic add(all, "Groups: a learning rate for each layer");
    add("layer_decay", &Config::layer_decay, plan_commands, "Short for --policy layer-decay --decay");
    const OptionTopic in_groups(all, "Groups: a learning rate for each layer", "groups");
    in_groups("policy", &Config::policy, plan_commands, "How parameters form groups")
        .one_of(optim::policy_names())
        .checked_by(check_policy);
    in_groups("decay", &Config::decay, plan_commands,
              "layer-decay, parameter-decay, prefix-decay: rate of a group over the one above it; default 0.95");
    in_groups("convention", &Config::convention, plan_commands,
              "layer-decay: 'standard' (top layer d) or 'electra' (top layer d squared)")
        .one_of({"standard", "electra"});
    in_groups("backbone_multiplier", &Config::backbone_multiplier, plan_commands,
              "two-part: rate of the backbone over the head's; 0 freezes it; default 0.1");
    in_groups("pooler_with_head", &Config::pooler_with_head, plan_commands,
              "layer-decay: the pooler learns with the head, else with the top layer (two-part: with the backbone)");
    in_groups("multipliers", &Config::multipliers, plan_commands,
              "multipliers: of base, extra and head; default 0.1,0.5,1");
    in_groups("depth", &Config::depth, plan_commands,
              "prefix-decay: components of their names that a group's parameters share; default 1");
    in_groups("split", &Config::split, plan_commands,
              "slice: the policy that makes its groups; default layer-decay, rules where there are [[group]] tables")
        .one_of(split_names())
        .checked_by(check_policy);
    in_groups("low", &Config::low, plan_commands,
              "slice: rate of the first group; without it, high / 10 for all but the last");
    in_groups("high", &Config::high, plan_commands, "slice: rate of the last group");
    in_groups("no_decay", &Config::no_decay, plan_commands, "Patterns of further parameters that do not decay");
}

void add_range_test_options(std::vector<Option>& all) {
    const OptionTopic add(all, "Range test", "lr_find");
    add("start_lr", &Config::start_lr, command_lr_find, "Rate of the first update");
    add("end_lr", &Config::end_lr, command_lr_find, "Rate that the updates grow towards, each by the same factor");
    add("num_it", &Config::num_it, command_lr_find, "Updates from start_lr to end_lr");
    add("stop_div", &Config::stop_div, command_lr_find,
        "End early where the smoothed loss exceeds four times its least");
    add("group", &Config::range_group, command_lr_find,
        "Test this group alone, the others frozen; without it all together, each at the rate times its "
        "multiplier");
    add("each_group", &Config::each_group, command_lr_find, "Test each group alone, one after another");
    add("stage", &Config::range_stage, command_lr_find, "Test what this stage trains; without it the first");
}

}  // namespace strata::app
