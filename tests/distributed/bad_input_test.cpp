// What the user can get wrong ends with exit code 2 and one message that says what, where and what to do; nothing is
// left half-written.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "tests/distributed/job.h"
#include "tests/support/small_disk.h"

namespace strata::testing_support {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

void expect_refused(const JobResult& job, const testing::Matcher<std::string>& message) {
    EXPECT_EQ(job.exit_code, 2) << job.output;
    EXPECT_THAT(job.output, message);
    const std::string opening = "strata: ";
    const auto first = job.output.find(opening);
    ASSERT_NE(first, std::string::npos) << job.output;
    EXPECT_EQ(job.output.find(opening, first + 1), std::string::npos) << "one message, not one a rank:\n" << job.output;
}

/// Whether a run here would find a GPU.
bool has_gpu() {
    return fs::exists("/dev/nvidiactl");
}

class BadInput : public testing::Test {
  protected:
    std::vector<std::string> run(const std::vector<std::string>& more) {
        return with(parity_run(2, scratch_ / "run"), more);
    }
    void expect_train_refused(const std::vector<std::string>& flags, const testing::Matcher<std::string>& message) {
        expect_refused(run_strata(2, run(flags)), message);
        EXPECT_FALSE(fs::exists(scratch_ / "run")) << "a refused run must leave no folder";
    }
    fs::path copy_of_model() {
        fs::copy(parity("tiny_bert"), scratch_ / "model");
        return scratch_ / "model";
    }
    ScratchFolder scratch_;
};

TEST_F(BadInput, AGpuThatIsNotThere) {
    if (has_gpu()) GTEST_SKIP() << "this machine has a GPU";
    expect_train_refused({"--device", "cuda"}, AllOf(HasSubstr("--device cuda, but "), HasSubstr("has no GPU to use")));
    expect_train_refused({"--tf32"}, HasSubstr("tf32 is for NVIDIA GPUs"));
    expect_train_refused({"--cuda_graph", "true"},
                         AllOf(HasSubstr("cuda_graph is for NVIDIA GPUs"), HasSubstr("--device cuda")));
    expect_train_refused({"--cuda_graph", "true", "--deterministic"},
                         HasSubstr("cuda_graph and deterministic are both true"));
    expect_train_refused({"--device", "gpu"}, AllOf(HasSubstr("device"), HasSubstr("cpu")));
}

TEST_F(BadInput, missing_and_empty_files) {
    expect_train_refused({"--train_file", "/no/such.tsv"}, HasSubstr("/no/such.tsv"));
    expect_train_refused({"--train_file", scratch_.write("empty.tsv", "")}, HasSubstr("empty.tsv"));
    expect_train_refused({"--model_name_or_path", "/no/such/model"}, HasSubstr("/no/such/model"));
}

TEST_F(BadInput, rows_and_labels) {
    expect_train_refused({"--train_file", scratch_.write("short.tsv", "a good one\t1\na bad one\t0\nno label here\n")},
                         HasSubstr("short.tsv:3"));
    expect_train_refused({"--validation_file", scratch_.write("dev.tsv", "a good one\t1\na strange one\t7\n")},
                         AllOf(HasSubstr("dev.tsv:2"), HasSubstr("7")));
    expect_train_refused({"--train_file", scratch_.write("latin.tsv", "fine\t1\ncaf\xe9 noir\t0\n")},
                         AllOf(HasSubstr("latin.tsv:2"), HasSubstr("--encoding latin1")));
}

TEST_F(BadInput, latin1_helps) {
    const std::string file = scratch_.write("latin.tsv", "fine\t1\ncaf\xe9 noir\t0\nthe end\t1\nbad\t0\n");
    const JobResult job =
        run_strata(1, with(parity_run(1, scratch_ / "run"),
                           {"--train_file", file, "--encoding", "latin1", "--max_steps", "1", "--warmup_steps", "0"}));
    EXPECT_EQ(job.exit_code, 0) << job.output;
}

TEST_F(BadInput, models_that_do_not_fit) {
    const fs::path model = copy_of_model();
    std::ofstream(model / "vocab.txt", std::ios::app) << "onetoken\nmore\n";
    expect_train_refused({"--model_name_or_path", model.string()}, HasSubstr("vocab.txt"));
}

TEST_F(BadInput, unsupported_model_type) {
    const fs::path model = copy_of_model();
    auto config = read_json(model / "config.json");
    config["model_type"] = "deberta-v2";
    std::ofstream(model / "config.json") << config;
    expect_train_refused({"--model_name_or_path", model.string()},
                         AllOf(HasSubstr("unsupported model_type 'deberta-v2'"), HasSubstr("supported: bert")));
}

TEST_F(BadInput, broken_weights) {
    const fs::path model = copy_of_model();
    fs::resize_file(model / "model.safetensors", fs::file_size(model / "model.safetensors") / 2);
    expect_train_refused({"--model_name_or_path", model.string()}, HasSubstr("model.safetensors"));
    std::ofstream(model / "model.safetensors", std::ios::binary)
        << std::string("\xff\xff\xff\xff\xff\xff\xff\x7f{}", 10);
    expect_train_refused({"--model_name_or_path", model.string()}, HasSubstr("model.safetensors"));
}

TEST_F(BadInput, shapes_that_do_not_match) {
    const fs::path model = copy_of_model();
    auto config = read_json(model / "config.json");
    config["intermediate_size"] = 128;
    std::ofstream(model / "config.json") << config;
    expect_train_refused({"--model_name_or_path", model.string()},
                         AllOf(HasSubstr("intermediate.dense"), HasSubstr("model.safetensors")));
}

TEST_F(BadInput, flags_and_keys) {
    expect_train_refused({"--learning_rat", "1"}, HasSubstr("Did you mean 'learning_rate'?"));
    expect_train_refused({"--config", scratch_.write("run.toml", "max_step = 3\n")},
                         AllOf(HasSubstr("run.toml:1"), HasSubstr("Did you mean 'max_steps'?")));
    expect_train_refused({"--layer_decay", "1.5"}, HasSubstr("decay"));
    expect_train_refused({"--cache_frozen", "true", "--frozen_dropout", "true"}, HasSubstr("keep one"));
}

TEST_F(BadInput, more_ranks_than_samples) {
    const std::string file = scratch_.write("two.tsv", "good\t1\nbad\t0\n");
    expect_refused(run_strata(3, with(parity_run(3, scratch_ / "run"), {"--train_file", file})), HasSubstr("3 ranks"));
}

TEST_F(BadInput, a_directory_that_holds_another_run) {
    ASSERT_EQ(run_strata(2, run({"--max_steps", "5"})).exit_code, 0);
    expect_refused(run_strata(2, run({"--max_steps", "5"})),
                   AllOf(HasSubstr("holds another run"), HasSubstr("--overwrite_output_dir")));
    EXPECT_EQ(run_strata(2, run({"--max_steps", "5", "--overwrite_output_dir", "true"})).exit_code, 0);
}

TEST_F(BadInput, a_run_that_would_overwrite_its_own_model) {
    ASSERT_EQ(run_strata(2, run({"--max_steps", "5"})).exit_code, 0);
    const std::string checkpoint = (scratch_ / "run/checkpoint-5").string();
    const auto job =
        run_strata(2, run({"--max_steps", "5", "--overwrite_output_dir", "--model_name_or_path", checkpoint}));
    expect_refused(job, HasSubstr("name another output_dir"));
    EXPECT_TRUE(fs::exists(scratch_ / "run/checkpoint-5/model.safetensors"));
}

TEST_F(BadInput, a_checkpoint_of_another_model_or_configuration) {
    ASSERT_EQ(run_strata(2, run({"--max_steps", "8", "--save_steps", "2"})).exit_code, 0);
    const std::string checkpoint = (scratch_ / "run/checkpoint-2").string();
    const auto changed =
        run_strata(2, run({"--resume_from_checkpoint", checkpoint, "--max_steps", "8", "--learning_rate", "2e-3"}));
    expect_refused(changed,
                   AllOf(HasSubstr("learning_rate: 0.001 in the checkpoint, 0.002 now"), HasSubstr("--allow_changes")));
    const auto batch = run_strata(
        2, run({"--resume_from_checkpoint", checkpoint, "--max_steps", "8", "--per_device_train_batch_size", "5"}));
    expect_refused(batch, AllOf(HasSubstr("from 12 samples each"), HasSubstr("from 10")));
    const std::string last = (scratch_ / "run/checkpoint-8").string();
    const auto shorter =
        run_strata(2, run({"--resume_from_checkpoint", last, "--max_steps", "5", "--allow_changes", "true"}));
    expect_refused(shorter, AllOf(HasSubstr("is of update 8, and this run makes only 5"), HasSubstr("max_steps")));
    const fs::path model = copy_of_model();
    const std::string labels = scratch_.write("three.tsv", "a\t0\nb\t1\nc\t2\nd\t0\n");
    const auto other =
        run_strata(2, run({"--resume_from_checkpoint", checkpoint, "--train_file", labels, "--validation_file", labels,
                           "--max_steps", "8", "--ignore_mismatched_sizes", "true", "--allow_changes", "true"}));
    expect_refused(other, HasSubstr("another model"));
}

TEST_F(BadInput, a_disk_that_fills_while_saving) {
    const SmallDisk disk(scratch_ / "disk", "3m");
    if (!disk.mounted()) GTEST_SKIP() << no_small_disk;
    const fs::path folder = disk.path() / "run";
    const auto on_disk = with(parity_run(2, folder), {"--save_steps", "1", "--on_save_error", "stop"});
    expect_refused(run_strata(2, on_disk),
                   AllOf(HasSubstr(folder.string()), HasSubstr("a checkpoint needs"), HasSubstr("--save_total_limit")));

    EXPECT_FALSE(fs::exists(folder / "model.safetensors")) << "the run was to stop long before its end";
    std::vector<fs::path> checkpoints;
    for (const auto& entry : fs::directory_iterator(folder)) {
        const std::string name = entry.path().filename().string();
        EXPECT_FALSE(name.ends_with(".tmp")) << name;
        if (name.starts_with("checkpoint-")) checkpoints.push_back(entry.path());
    }
    ASSERT_GE(checkpoints.size(), 1U);
    for (const auto& checkpoint : checkpoints)
        EXPECT_EQ(run_strata(0, {"checkpoint", "inspect", checkpoint.string()}).exit_code, 0) << checkpoint;

    // Room is made, and the same command goes on.
    for (const auto& checkpoint : checkpoints) {
        if (checkpoint.filename() != "checkpoint-" + std::to_string(checkpoints.size())) fs::remove_all(checkpoint);
    }
    const auto again = run_strata(
        2, with(on_disk, {"--resume_from_checkpoint", "auto", "--save_strategy", "no", "--allow_changes", "true"}));
    EXPECT_EQ(again.exit_code, 0) << again.output;
    EXPECT_THAT(again.output, HasSubstr("going on from"));
}

TEST_F(BadInput, ranks_whose_configuration_differs) {
    // A wrapper gives rank 1 another seed, as a config file that differs between hosts would.
    const std::string wrapper =
        scratch_.write("wrapper.sh", "#!/bin/sh\nexec \"" STRATA_PROGRAM "\" \"$@\" --seed $OMPI_COMM_WORLD_RANK\n");
    fs::permissions(wrapper, fs::perms::owner_all);
    expect_refused(run_strata(2, run({}), wrapper), AllOf(HasSubstr("the configuration"), HasSubstr("seed")));
}

}  // namespace
}  // namespace strata::testing_support
