#include "apps/strata/trainer_flags.h"

#include <algorithm>
#include <iterator>

namespace strata::app {
namespace {

struct TrainerFlag {
    std::string_view name;
    std::string_view instead;
};

constexpr std::string_view by_files =
    "`strata train` trains, evaluates --validation_file and predicts --test_file, "
    "whichever are given: leave it out";
constexpr std::string_view no_workers = "texts are tokenized once, before the first update: leave it out";
constexpr std::string_view in_output_dir = "the log lies in --output_dir: leave it out";
constexpr std::string_view by_mpirun = "ranks are started by mpirun, and shard by --zero_stage: leave it out";
constexpr std::string_view own_kernels = "the encoder's kernels are strata's own: leave it out";
constexpr std::string_view own_columns =
    "columns are found by their names: call them text (or sentence1, sentence2) "
    "and label";
constexpr std::string_view in_their_type =
    "evaluation computes in the type of the training (--bf16, --fp16): leave it "
    "out";

constexpr TrainerFlag flags[] = {
    {"auto_find_batch_size", "`strata plan` says the memory that a batch takes"},
    {"bf16_full_eval", in_their_type},
    {"data_seed", "--seed is the data's too"},
    {"dataloader_drop_last", "the last batch of an epoch counts as it is: leave it out"},
    {"dataloader_num_workers", no_workers},
    {"dataloader_pin_memory", no_workers},
    {"dataset_name", "name files: --train_file, --validation_file, --test_file"},
    {"ddp_backend", by_mpirun},
    {"ddp_find_unused_parameters", by_mpirun},
    {"deepspeed", by_mpirun},
    {"disable_tqdm", "--progress lines shows no bar"},
    {"do_eval", by_files},
    {"do_predict", by_files},
    {"do_train", by_files},
    {"fp16_full_eval", in_their_type},
    {"fsdp", by_mpirun},
    {"full_determinism", "runs repeat as they are; --deterministic true has the same bits on any number of ranks"},
    {"group_by_length", "sequences are packed, so there is no padding to save: leave it out"},
    {"label_column_name", own_columns},
    {"label_names", own_columns},
    {"local_rank", by_mpirun},
    {"logging_dir", in_output_dir},
    {"logging_first_step", "--logging_steps 1 logs every update"},
    {"logging_strategy", "--logging_steps says how often"},
    {"no_cuda", "--device cpu computes on the processor"},
    {"pad_to_max_length", "sequences are packed, and nothing is padded: leave it out"},
    {"per_gpu_eval_batch_size", "--per_device_eval_batch_size is its name"},
    {"per_gpu_train_batch_size", "--per_device_train_batch_size is its name"},
    {"push_to_hub", "--output_dir is a Hugging Face folder, which `hf upload` takes"},
    {"remove_unused_columns", "columns that are not read are said at the start: leave it out"},
    {"run_name", in_output_dir},
    {"save_safetensors", "weights are always saved so: leave it out"},
    {"text_column_name", own_columns},
    {"text_column_names", own_columns},
    {"torch_compile", own_kernels},
    {"use_cpu", "--device cpu computes on the processor"},
    {"use_fast_tokenizer", "there is one tokenizer: leave it out"},
    {"use_liger_kernel", own_kernels},
};

}  // namespace

std::string_view instead_of_trainer_flag(std::string_view name) {
    const auto found =
        std::find_if(std::begin(flags), std::end(flags), [&](const TrainerFlag& flag) { return flag.name == name; });
    return found == std::end(flags) ? std::string_view() : found->instead;
}

}  // namespace strata::app
