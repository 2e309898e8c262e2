#include "apps/strata/option_topics.h"

namespace strata::app {

void add_model_options(std::vector<Option>& all) {
    const OptionTopic add(all, "Model");
    add("model_name_or_path", &Config::model_name_or_path, model_commands,
        "Hugging Face folder: config.json, model.safetensors, vocab.txt")
        .called_also("model")
        .free_to_change();
    add("torchscript", &Config::torchscript, data_commands & ~command_bench_step,
        "Instead of a folder: a module saved by torch.jit; of one tensor (images, features) or of input_ids and "
        "masks")
        .free_to_change();
    add("tokenizer_name", &Config::tokenizer_name, command_train | inference_commands,
        "The folder of a --torchscript module's tokenizer files; default: the module's own");
    add("manifest", &Config::manifest, command_plan,
        "Instead of a model: a file of lines name<TAB>shape, for example encoder.weight<TAB>768x3072");
    add("ignore_mismatched_sizes", &Config::ignore_mismatched_sizes,
        model_commands & ~(command_tokenize | command_bench_step),
        "Start a new head when the folder's head has another number of labels");
    add("hidden_dropout_prob", &Config::hidden_dropout_prob, step_commands,
        "Dropout of hidden states; default: config.json's");
    add("attention_probs_dropout_prob", &Config::attention_probs_dropout_prob, step_commands,
        "Dropout of attention probabilities; default: config.json's");
    add("frozen_dropout", &Config::frozen_dropout, step_commands,
        "Drop in frozen layers too; without it a frozen layer is a fixed function");
    add("frozen_batch_norm", &Config::frozen_batch_norm, command_train | command_lr_find,
        "BatchNorm follows the data in frozen layers too; without it they keep their statistics, and use them");
    add("cache_frozen", &Config::cache_frozen, plan_commands & ~command_bench_step,
        "Keep what a wholly frozen backbone makes of each training sample, on every rank, so that later epochs "
        "of the stage cost its head alone; 'auto': where that changes no bit, so not with frozen_dropout")
        .one_of({"auto", "true", "false"})
        .free_to_change();
}

void add_data_options(std::vector<Option>& all) {
    const OptionTopic add(all, "Data");
    add("task_name", &Config::task_name, data_commands,
        "GLUE task, whose columns and metrics are known; without it the file is read as a custom one")
        .one_of({"", "cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli"});
    add("train_file", &Config::train_file, plan_commands,
        "Training data: .tsv, .csv or .jsonl; images: train-images-idx3-ubyte[.gz], its labels beside it");
    add("validation_file", &Config::validation_file, command_train | command_evaluate,
        "Data to evaluate on, in the same format")
        .free_to_change();
    add("test_file", &Config::test_file, command_train | inference_commands,
        "Data to predict, its labels not read; evaluate: to measure where no validation_file is named")
        .free_to_change();
    add("input", &Config::input, command_tokenize, "Text, one input a line; '-' for standard input");
    add("encoding", &Config::encoding, data_commands | command_tokenize, "Encoding of the data files")
        .one_of({"utf-8", "latin1"});
    add("header", &Config::header, data_commands, "Whether custom TSV and CSV files begin with column names")
        .one_of({"auto", "true", "false"});
    add("max_seq_length", &Config::max_seq_length, model_commands,
        "Longest input in tokens; longer ones are cut, the longer text of a pair first; default 128, tokenize: "
        "no limit");
    add("max_train_samples", &Config::max_train_samples, plan_commands, "Use only the first so many training rows");
    add("train_samples", &Config::train_samples, command_plan,
        "Without --train_file: how many training samples there will be, for lengths in epochs");
    add("max_eval_samples", &Config::max_eval_samples, command_train | command_evaluate,
        "Use only the first so many rows for evaluation")
        .free_to_change();
    add("image_mean", &Config::image_mean, command_train | command_lr_find | inference_commands,
        "Images: subtracted from pixels in [0, 1], one number or one a channel; default: the module's "
        "training's, else 0");
    add("image_std", &Config::image_std, command_train | command_lr_find | inference_commands,
        "Images: what they are then divided by; default: the module's training's, else 1");
    add("cache_dir", &Config::cache_dir, step_commands | inference_commands,
        "A folder in which tokens are kept for the next run with the same texts and tokenizer; default: none")
        .free_to_change();
    add("shuffle", &Config::shuffle, step_commands, "Shuffle the training data anew each epoch");
}

}  // namespace strata::app
