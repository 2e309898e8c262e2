#include "apps/strata/option_topics.h"

namespace strata::app {

void add_run_options(std::vector<Option>& all) {
    const OptionTopic add(all, "Run");
    add("output_dir", &Config::output_dir, command_train | command_evaluate,
        "The run directory; evaluate: where to write eval_results.json, as a flag alone, for a file's is the run's")
        .free_to_change();
    add("overwrite_output_dir", &Config::overwrite_output_dir, command_train,
        "Delete an earlier run in output_dir and start over")
        .free_to_change();
    add("resume_from_checkpoint", &Config::resume_from_checkpoint, command_train,
        "A checkpoint folder, or 'auto': the newest whole one in output_dir, from the start where there is none")
        .free_to_change();
    add("allow_changes", &Config::allow_changes, command_train,
        "Resume although the configuration differs from the checkpoint's")
        .free_to_change();
    add("seed", &Config::seed, step_commands | inference_commands, "Seed of the data order, dropout and new weights");
    add("device", &Config::device, plan_commands | inference_commands,
        "Where each rank computes: cuda is one GPU a rank; auto takes a GPU where there is one. Transformers' "
        "--use_cpu is --device cpu")
        .one_of({"auto", "cpu", "cuda"})
        .free_to_change();
    add("num_train_epochs", &Config::num_train_epochs, plan_commands,
        "Passes over the training data; -1: as many as the stages make, else 3")
        .called_also("epochs");
    add("max_steps", &Config::max_steps, plan_commands, "Updates to make; -1: as many as num_train_epochs gives");
    add("per_device_train_batch_size", &Config::per_device_train_batch_size, plan_commands,
        "Samples a rank takes at once in training")
        .called_also("batch_size")
        .free_to_change();
    add("per_device_eval_batch_size", &Config::per_device_eval_batch_size, command_train | inference_commands,
        "Samples a rank takes at once in evaluation")
        .free_to_change();
    add("gradient_accumulation_steps", &Config::gradient_accumulation_steps, plan_commands,
        "Micro-batches a rank adds up before an update")
        .free_to_change();
    add("heartbeat_timeout", &Config::heartbeat_timeout, step_commands | inference_commands,
        "Seconds after which a rank that is not heard of (stopped, or its host cut off) ends the job; 0: nobody "
        "watches")
        .free_to_change();
    add("ddp_timeout", &Config::ddp_timeout, step_commands | inference_commands,
        "Seconds that ranks wait for one that lives but does not come: longer than it may evaluate or save alone")
        .free_to_change();
    add("zero_stage", &Config::zero_stage, plan_commands,
        "What each rank keeps only its slice of. 1: optimizer state; 2: gradients too, reduced after each "
        "micro-batch")
        .free_to_change();
    add("shard", &Config::shard, plan_commands,
        "Who shares the optimizer state: all ranks, or those of each host (node), whose sums then meet host by "
        "host")
        .one_of({"all", "node"})
        .free_to_change();
    add("ranks_per_host", &Config::ranks_per_host, plan_commands,
        "Ranks that count as one host for --shard node; 0: those of each host, as the job finds them")
        .free_to_change();
    add("overlap_comm", &Config::overlap_comm, plan_commands, "Send gradients while the backward pass makes them")
        .free_to_change();
    add("gradient_checkpointing", &Config::gradient_checkpointing, plan_commands,
        "Keep each layer's input alone for the backward pass, which computes the layer again (on a GPU all but "
        "attention): the same bits, less memory, about a third more time")
        .free_to_change();
    add("deterministic", &Config::deterministic, plan_commands,
        "The same bits on any number of ranks, with the same micro_batches and threads a rank");
    add("bf16", &Config::bf16, plan_commands | inference_commands,
        "Compute in bf16; training keeps fp32 masters of the weights, for the update and for what is saved. 'auto': as "
        "the checkpoint has it that the run goes on from, else where the processor (AVX512-BF16) or GPU (compute "
        "capability 8.0) multiplies it")
        .one_of({"auto", "true", "false"});
    add("fp16", &Config::fp16, plan_commands, "The same in fp16, with dynamic loss scaling");
    add("stochastic_rounding", &Config::stochastic_rounding, plan_commands,
        "In bf16, keep no fp32 masters: updates round each weight up or down by chance, right on average; 4 bytes "
        "less for each weight that a rank owns");
    add("tf32", &Config::tf32, step_commands, "fp32 products in TF32, on GPUs that have it");
    add("cuda_graph", &Config::cuda_graph, step_commands,
        "Capture each step's work for the GPU in CUDA graphs and replay them: the update (norms, clipping, rates, "
        "gather), and the passes too, their batches padded to one of a few numbers of tokens. No GPU has run it yet, "
        "so 'auto' is 'false'")
        .one_of({"false", "true", "auto"})
        .free_to_change();
    // Free: the resume itself looks at how steps are cut.
    add("micro_batches", &Config::micro_batches, plan_commands,
        "Of a deterministic update, on however many ranks, each of per_device_train_batch_size samples; 0: ranks "
        "x gradient_accumulation_steps")
        .free_to_change();
}

}  // namespace strata::app
