#include "apps/strata/option_topics.h"

namespace strata::app {

void add_measurement_options(std::vector<Option>& all) {
    const OptionTopic add(all, "Measurement");
    add("steps", &Config::bench_steps, command_bench_step, "Steps to measure");
}

void add_reporting_options(std::vector<Option>& all) {
    const OptionTopic add(all, "Logging, evaluation, saving");
    add("logging_steps", &Config::logging_steps, command_train, "Log each so many updates").free_to_change();
    add("report_to", &Config::report_to, command_train,
        "Who else reads the log: tensorboard has its events in output_dir")
        .one_of({"tensorboard", "none"})
        .free_to_change();
    add("eval_strategy", &Config::eval_strategy, command_train,
        "When to evaluate besides the end; default: 'steps' where eval_steps is given, else 'no'")
        .one_of({"", "no", "steps", "epoch"})
        .called_also("evaluation_strategy")
        .free_to_change();
    add("eval_steps", &Config::eval_steps, command_train, "Evaluate each so many updates").free_to_change();
    add("save_strategy", &Config::save_strategy, command_train, "When to write checkpoints")
        .one_of({"no", "steps", "epoch"})
        .free_to_change();
    add("save_steps", &Config::save_steps, command_train, "Write a checkpoint each so many updates, and at the end")
        .free_to_change();
    add("save_total_limit", &Config::save_total_limit, command_train, "Keep only so many newest checkpoints; 0: all")
        .free_to_change();
    add("load_best_model_at_end", &Config::load_best_model_at_end, command_train,
        "End with the checkpoint whose evaluation was the best; eval_strategy and save_strategy must match")
        .free_to_change();
    add("metric_for_best_model", &Config::metric_for_best_model, command_train,
        "What evaluations are compared by, with or without eval_; default with load_best_model_at_end: loss")
        .free_to_change();
    add("greater_is_better", &Config::greater_is_better, command_train,
        "Whether more of it is better; default: unless its name ends in loss")
        .free_to_change();
    add("async_save", &Config::async_save, command_train,
        "Copy what is to be saved and train on while it is written; takes memory for the rank's weights and "
        "moments")
        .free_to_change();
    add("on_save_error", &Config::on_save_error, command_train,
        "When a checkpoint cannot be written: train on and try the next (the run fails if its last one failed), "
        "or stop")
        .one_of({"continue", "stop"})
        .free_to_change();
    add("progress", &Config::progress, command_train | command_lr_find | inference_commands,
        "A bar on a terminal, plain lines elsewhere")
        .one_of({"auto", "bar", "lines", "off"})
        .free_to_change();
}

void add_output_options(std::vector<Option>& all) {
    const OptionTopic add(all, "Output");
    add("output", &Config::output, command_predict | command_report | command_export | command_average,
        "predict: the predictions, one JSON object a line; report: the page, default report.html in the run "
        "directory, of several runs here; checkpoint: the new folder");
    add("json", &Config::json, command_plan | command_lr_find | command_diff | command_bench_step,
        "Write the plan, the range test, the difference or what was measured, as JSON to this file");
    add("csv", &Config::csv, command_plan, "Write each group's rate at each step to this file");
    add("svg", &Config::svg, command_plan | command_lr_find,
        "Draw each group's rate over time, or the range test's losses over rates, to this file");
    add("explain", &Config::explain, command_plan, "Say which rules place this parameter and decide its decay");
    add("ranks", &Config::ranks, command_plan, "World size to plan for");
    add("cluster", &Config::cluster, command_plan,
        "Predict a step's time on hosts=32,gpus=8,nvlink=370,network=45 (GB/s); also tflops, memory, latency, "
        "and measured seconds: forward, backward, update");
}

void add_report_options(std::vector<Option>& all) {
    const OptionTopic add(all, "Report");
    add("runs", &Config::runs, command_report, "Run directories");
}

void add_checkpoint_options(std::vector<Option>& all) {
    const OptionTopic add(all, "Checkpoint");
    add("checkpoints", &Config::checkpoints, checkpoint_commands,
        "Checkpoint folders; inspect and verify: or run directories, for all of theirs");
    add("dtype", &Config::dtype, command_export | command_average, "Type of the weights in the new folder")
        .one_of({"fp32", "bf16", "fp16"});
    add("max_shard_size", &Config::max_shard_size, command_export | command_average,
        "Larger models are cut into files of at most so much, with an index");
}

}  // namespace strata::app
