// strata checkpoint …, on the checkpoints that a training run leaves behind.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "dist/state_file.h"
#include "models/safetensors.h"
#include "tests/distributed/equal_runs.h"
#include "tests/distributed/job.h"

namespace strata::testing_support {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

/// A run of two ranks with checkpoints 10 and 20, for all tests; each does its harm to copies.
class CheckpointCommands : public testing::Test {
  protected:
    static void SetUpTestSuite() {
        shared_ = new ScratchFolder;
        const JobResult job = run_strata(2, with(parity_run(2, *shared_ / "run"), {"--save_steps", "10"}));
        ASSERT_EQ(job.exit_code, 0) << job.output;
    }
    static void TearDownTestSuite() {
        delete shared_;
        shared_ = nullptr;
    }
    static std::string saved(int step) { return (*shared_ / "run" / ("checkpoint-" + std::to_string(step))).string(); }
    static JobResult checkpoint(const std::string& action, std::vector<std::string> words) {
        words.insert(words.begin(), {"checkpoint", action});
        return run_strata(0, words);
    }
    std::string copy_of(int step, const std::string& name) const {
        fs::copy(saved(step), own_ / name, fs::copy_options::recursive);
        return (own_ / name).string();
    }
    static void flip_bit(const fs::path& file, std::uint64_t at) {
        std::fstream stream(file, std::ios::binary | std::ios::in | std::ios::out);
        stream.seekg(static_cast<std::streamoff>(at));
        const int byte = stream.get();
        stream.seekp(static_cast<std::streamoff>(at));
        stream.put(static_cast<char>(byte ^ 8));
    }
    static void flip_middle_bit(const fs::path& file) { flip_bit(file, fs::file_size(file) / 2); }
    std::string own(const std::string& name) const { return (own_ / name).string(); }

    static ScratchFolder* shared_;
    ScratchFolder own_;
};

ScratchFolder* CheckpointCommands::shared_ = nullptr;

TEST_F(CheckpointCommands, inspect_says_what_is_inside) {
    const JobResult one = checkpoint("inspect", {saved(20)});
    ASSERT_EQ(one.exit_code, 0) << one.output;
    for (const char* word : {"layer_2", "head", "embeddings", "20"}) EXPECT_THAT(one.output, HasSubstr(word));
    const JobResult all = checkpoint("inspect", {(*shared_ / "run").string()});
    ASSERT_EQ(all.exit_code, 0) << all.output;
    EXPECT_THAT(all.output, testing::AllOf(HasSubstr(saved(10)), HasSubstr(one.output)));
}

TEST_F(CheckpointCommands, verify_tells_whole_from_damaged_by_its_exit_code) {
    const JobResult whole = checkpoint("verify", {saved(10), (*shared_ / "run").string() + "/"});
    EXPECT_EQ(whole.exit_code, 0);
    EXPECT_EQ(whole.output, saved(10) + ": whole\n" + saved(10) + ": whole\n" + saved(20) + ": whole\n");

    const fs::path run = own_ / "run";
    fs::create_directories(run);
    for (const int step : {10, 20}) copy_of(step, "run/checkpoint-" + std::to_string(step));
    for (const char* file : {"config.json", "model.safetensors", "state.h5"})
        flip_middle_bit(run / "checkpoint-10" / file);
    const JobResult damaged = checkpoint("verify", {run.string()});
    EXPECT_EQ(damaged.exit_code, 1);
    EXPECT_THAT(damaged.output, HasSubstr((run / "checkpoint-20").string() + ": whole\n"));
    EXPECT_THAT(damaged.output, HasSubstr((run / "checkpoint-10/config.json").string() + ": differs"));
    EXPECT_THAT(damaged.output, HasSubstr((run / "checkpoint-10/model.safetensors").string() + ": differs"));
    EXPECT_THAT(damaged.output, HasSubstr((run / "checkpoint-10/state.h5").string() + ": dataset /"));
    EXPECT_EQ(std::count(damaged.output.begin(), damaged.output.end(), '\n'), 4) << damaged.output;
}

TEST_F(CheckpointCommands, verify_takes_a_checkpoint_that_lost_a_file_for_damaged) {
    for (const char* file : {"state.h5", "checksums.json", "model.safetensors"}) {
        const std::string folder = copy_of(20, std::string("without-") + file);
        fs::remove(fs::path(folder) / file);
        const JobResult job = checkpoint("verify", {folder});
        EXPECT_EQ(job.exit_code, 1) << job.output;
        EXPECT_THAT(job.output, HasSubstr(folder + "/" + file + ": is missing"));
    }
}

TEST_F(CheckpointCommands, verify_finds_a_cut_in_every_file) {
    const std::string folder = copy_of(20, "cut");
    for (const auto& entry : fs::directory_iterator(saved(20))) {
        const fs::path file = fs::path(folder) / entry.path().filename();
        fs::resize_file(file, entry.file_size() * 2 / 3);
        const JobResult job = checkpoint("verify", {folder});
        EXPECT_EQ(job.exit_code, 1) << file;
        EXPECT_THAT(job.output, testing::StartsWith(file.string() + ": "));
        fs::copy(entry.path(), file, fs::copy_options::overwrite_existing);
    }
    EXPECT_EQ(checkpoint("verify", {folder}).exit_code, 0);
}

TEST_F(CheckpointCommands, what_is_no_checkpoint_is_wrong_input) {
    fs::create_directories(own_ / "empty");
    const std::string unfinished = copy_of(20, "checkpoint-30.tmp");
    for (const std::string& path :
         {parity("tiny_bert"), (own_ / "empty").string(), (own_ / "none").string(), parity("train.tsv"), unfinished}) {
        for (const char* action : {"verify", "inspect"}) {
            const JobResult job = checkpoint(action, {saved(10), path});
            EXPECT_EQ(job.exit_code, 2) << job.output;
            EXPECT_THAT(job.output, HasSubstr("strata: " + path + ": "));
            EXPECT_THAT(job.output, Not(HasSubstr("whole")));
        }
    }
}

/// What predict makes of a folder, as numbers.
std::vector<float> logits_of(const std::string& model, const fs::path& out) {
    const JobResult job = run_strata(0, {"predict", "--model_name_or_path", model, "--test_file", parity("test.tsv"),
                                         "--max_seq_length", "48", "--bf16", "false", "--output", out.string()});
    EXPECT_EQ(job.exit_code, 0) << job.output;
    std::vector<float> logits;
    for (const auto& line : read_lines(out)) {
        for (const auto& value : line["logits"]) logits.push_back(value.get<float>());
    }
    return logits;
}

TEST_F(CheckpointCommands, export_writes_the_weights_that_the_checkpoint_has) {
    const std::string out = own("exported");
    const JobResult job = checkpoint("export", {saved(20), out});
    ASSERT_EQ(job.exit_code, 0) << job.output;
    const models::SafetensorsFile before(fs::path(saved(20)) / "model.safetensors");
    const models::SafetensorsFile after(fs::path(out) / "model.safetensors");
    ASSERT_EQ(after.tensors().size(), before.tensors().size());
    for (const auto& [name, info] : before.tensors()) {
        EXPECT_EQ(after.tensors().at(name).begin, info.begin) << name << ": tensors keep the model's order";
        EXPECT_TRUE(torch::equal(after.load(name), before.load(name))) << name;
    }
    EXPECT_EQ(read_json(fs::path(out) / "config.json")["torch_dtype"], "float32");
    for (const char* name : {"vocab.txt", "tokenizer_config.json"}) {
        EXPECT_EQ(bytes_of(fs::path(out) / name), bytes_of(fs::path(saved(20)) / name));
    }
    EXPECT_FALSE(fs::exists(fs::path(out) / "state.h5"));
    EXPECT_EQ(logits_of(out, own_ / "a"), logits_of(saved(20), own_ / "b"));
}

TEST_F(CheckpointCommands, export_rounds_and_cuts_as_told_and_the_folder_predicts) {
    const std::string out = own("exported");
    const JobResult job = checkpoint("export", {saved(20), out, "--dtype", "bf16", "--max_shard_size", "20KB"});
    ASSERT_EQ(job.exit_code, 0) << job.output;
    const auto index = read_json(fs::path(out) / "model.safetensors.index.json");
    const models::SafetensorsFile before(fs::path(saved(20)) / "model.safetensors");
    std::int64_t parameters = 0;
    for (const auto& [name, info] : before.tensors()) {
        const std::string shard = index["weight_map"][name];
        const torch::Tensor stored = models::SafetensorsFile(fs::path(out) / shard).load(name);
        EXPECT_TRUE(torch::equal(stored, before.load(name).to(torch::kBFloat16))) << name;
        parameters += stored.numel();
    }
    EXPECT_EQ(index["weight_map"].size(), before.tensors().size());
    EXPECT_EQ(index["metadata"], nlohmann::json({{"total_parameters", parameters}, {"total_size", 2 * parameters}}));
    EXPECT_FALSE(fs::exists(fs::path(out) / "model.safetensors"));
    EXPECT_EQ(read_json(fs::path(out) / "config.json")["torch_dtype"], "bfloat16");
    const auto rounded = logits_of(out, own_ / "a");
    const auto exact = logits_of(saved(20), own_ / "b");
    ASSERT_EQ(rounded.size(), exact.size());
    // bf16 keeps 8 bits: logits of this model, up to about 3, move by less than a tenth.
    for (std::size_t i = 0; i < exact.size(); ++i) EXPECT_NEAR(rounded[i], exact[i], 0.1);
}

TEST_F(CheckpointCommands, export_is_what_save_pretrained_writes) {
    const char* named = std::getenv("STRATA_PYTHON");
    const std::string python = named != nullptr ? named : "python3";
    if (std::system((python + " -c 'import transformers, torch, safetensors' >/dev/null 2>&1").c_str()) != 0) {
        GTEST_SKIP() << "parity with transformers: " << python << " has none (STRATA_PYTHON names another)";
    }
    for (const auto& [dtype, name, size] : {std::tuple{"fp32", "float32", "5GB"},
                                            {"fp32", "float32", "50KB"},
                                            {"bf16", "bfloat16", "20KB"},
                                            {"fp16", "float16", "5GB"}}) {
        const std::string out = own(std::string(dtype) + size);
        expect_success(checkpoint("export", {saved(20), out, "--dtype", dtype, "--max_shard_size", size}));
        const std::string words = python + " " STRATA_PARITY_SCRIPTS "/check_export.py '" + saved(20) + "' '" + out +
                                  "' " + name + " " + size + " >'" + own("log") + "' 2>&1";
        EXPECT_EQ(std::system(words.c_str()), 0) << bytes_of(own("log"));
    }
}

TEST_F(CheckpointCommands, export_refuses_what_it_cannot_do_and_leaves_nothing) {
    const auto refused = [&](const std::vector<std::string>& words, int code, const std::string& text) {
        const JobResult job = checkpoint("export", words);
        EXPECT_EQ(job.exit_code, code) << job.output;
        EXPECT_THAT(job.output, HasSubstr(text));
        EXPECT_FALSE(fs::exists(own_ / "out") || fs::exists(own_ / "out.tmp"));
    };
    const std::string out = own("out");
    refused({(*shared_ / "run").string(), out}, 2, "is a run directory; name one of its checkpoints");
    refused({saved(20), out, "--max_shard_size", "5 apples"}, 2, "--max_shard_size: '5 apples' is not a size");
    refused({saved(20), out, "--dtype", "fp8"}, 2, "choose one of: fp32, bf16, fp16");
    refused({saved(20)}, 2, "usage: strata checkpoint export CHECKPOINT FOLDER");
    refused({saved(20), saved(10)}, 2, "checkpoint-10: is there already");
    const std::string damaged = copy_of(20, "damaged");
    const auto extents = dist::StateFile(fs::path(damaged) / "state.h5").extents();
    const auto master = std::find_if(extents.begin(), extents.end(),
                                     [](const auto& extent) { return extent.dataset.ends_with("/layer_2/master"); });
    ASSERT_NE(master, extents.end());
    flip_bit(fs::path(damaged) / "state.h5", master->offset + 5);
    refused({damaged, out}, 1, "state.h5: dataset /groups/layer_2/master differs from its checksum");
}

TEST_F(CheckpointCommands, average_is_the_mean_of_the_weights) {
    const std::string out = own("mean");
    const JobResult job = checkpoint("average", {saved(10), saved(20), saved(20), out});
    ASSERT_EQ(job.exit_code, 0) << job.output;
    const models::SafetensorsFile ten(fs::path(saved(10)) / "model.safetensors");
    const models::SafetensorsFile twenty(fs::path(saved(20)) / "model.safetensors");
    const models::SafetensorsFile mean(fs::path(out) / "model.safetensors");
    for (const auto& [name, info] : ten.tensors()) {
        const torch::Tensor sum = ten.load(name).to(torch::kFloat64) + twenty.load(name) + twenty.load(name);
        EXPECT_TRUE(torch::equal(mean.load(name), (sum / 3.0).to(torch::kFloat32))) << name;
    }
    EXPECT_FALSE(logits_of(out, own_ / "a").empty());
}

TEST_F(CheckpointCommands, average_refuses_another_model_by_name) {
    const std::string three_labels = own_.write("three.tsv", bytes_of(parity("train.tsv")) + "neither\t2\n");
    expect_success(
        run_strata(1, with(parity_run(1, own_ / "other"), {"--max_steps", "1", "--warmup_steps", "0", "--train_file",
                                                           three_labels, "--ignore_mismatched_sizes", "true"})));
    const std::string other = (own_ / "other/checkpoint-1").string();
    const JobResult job = checkpoint("average", {saved(10), other, own("mean")});
    EXPECT_EQ(job.exit_code, 2);
    EXPECT_THAT(job.output, testing::AllOf(HasSubstr(saved(10) + " and " + other + " are of different models"),
                                           HasSubstr("classifier.bias has shape 2 in the first and 3 in the second")));
    EXPECT_FALSE(fs::exists(own_ / "mean"));
    const JobResult diff = checkpoint("diff", {saved(10), other});
    EXPECT_EQ(diff.exit_code, 1) << diff.output;
    EXPECT_THAT(diff.output, HasSubstr("parameter classifier.bias: shape: 2, then 3"));
}

TEST_F(CheckpointCommands, diff_of_a_checkpoint_with_its_copy_finds_nothing) {
    const JobResult job = checkpoint("diff", {saved(20), copy_of(20, "copy")});
    EXPECT_EQ(job.exit_code, 0) << job.output;
    EXPECT_THAT(job.output, testing::EndsWith("\nequal\n"));
}

TEST_F(CheckpointCommands, diff_measures_weights_and_moments) {
    const std::string json = own("diff.json");
    const JobResult job = checkpoint("diff", {saved(10), saved(20), "--json", json});
    EXPECT_EQ(job.exit_code, 1) << job.output;
    EXPECT_THAT(job.output,
                testing::AllOf(HasSubstr("  step: 10, then 20\n"), HasSubstr("group head: step: 10, then 20"),
                               testing::EndsWith("\ndifferent\n")));
    const auto difference = read_json(json);
    EXPECT_EQ(difference["equal"], false);
    EXPECT_EQ(difference["configuration"], nlohmann::json::array());
    const models::SafetensorsFile ten(fs::path(saved(10)) / "model.safetensors");
    const models::SafetensorsFile twenty(fs::path(saved(20)) / "model.safetensors");
    ASSERT_EQ(difference["parameters"].size(), ten.tensors().size());
    for (const auto& row : difference["parameters"]) {
        const torch::Tensor a = ten.load(row["name"]).to(torch::kFloat64);
        const torch::Tensor d = twenty.load(row["name"]).to(torch::kFloat64) - a;
        EXPECT_EQ(row["master"]["elements"], a.numel());
        EXPECT_DOUBLE_EQ(row["master"]["largest"], d.abs().max().item<double>()) << row["name"];
        EXPECT_NEAR(row["master"]["relative"], (d.norm() / a.norm()).item<double>(), 1e-9) << row["name"];
        EXPECT_GT(row["exp_avg_sq"]["unequal"], 0) << row["name"];
    }
}

/// Another grouping, other ranks, no update made: parameters lie elsewhere, and are the same.
TEST_F(CheckpointCommands, diff_matches_parameters_whatever_groups_they_lie_in) {
    const auto still = [&](int ranks, const char* name, const std::vector<std::string>& more) {
        std::vector<std::string> flags = parity_run(ranks, own_ / name);
        const auto policy = std::find(flags.begin(), flags.end(), "--layer_decay");
        flags.erase(policy, policy + 2);
        flags = with(flags, {"--max_steps", "1", "--warmup_steps", "0", "--learning_rate", "0", "--weight_decay", "0"});
        expect_success(run_strata(ranks, with(flags, more)));
        return (own_ / name / "checkpoint-1").string();
    };
    const std::string layers = still(2, "layers", {"--layer_decay", "0.9"});
    const std::string tensors = still(3, "tensors", {"--policy", "parameter-decay", "--decay", "0.9"});
    const std::string json = own("diff.json");
    const JobResult job = checkpoint("diff", {layers, tensors, "--json", json});
    EXPECT_EQ(job.exit_code, 1);
    EXPECT_THAT(job.output, testing::AllOf(HasSubstr("policy: "), HasSubstr("group layer_2: there, then missing")));
    const auto difference = read_json(json);
    EXPECT_GT(difference["parameters"].size(), 40U);
    for (const auto& row : difference["parameters"]) EXPECT_EQ(row["master"]["unequal"], 0) << row;
}

TEST_F(CheckpointCommands, diff_of_what_cannot_be_read_is_wrong_input) {
    const std::string damaged = copy_of(20, "damaged");
    flip_middle_bit(fs::path(damaged) / "state.h5");
    const JobResult job = checkpoint("diff", {damaged, saved(20)});
    EXPECT_EQ(job.exit_code, 2);
    EXPECT_THAT(job.output, HasSubstr("differs from its checksum"));
}

}  // namespace
}  // namespace strata::testing_support
