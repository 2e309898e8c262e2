// The other commands, on what a training run leaves behind.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "apps/strata/precision.h"
#include "core/file.h"
#include "tests/distributed/job.h"

namespace strata::testing_support {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

class Inference : public testing::Test {
  protected:
    static void SetUpTestSuite() {
        scratch_ = new ScratchFolder;
        const JobResult job = run_strata(2, parity_run(2, *scratch_ / "run"));
        ASSERT_EQ(job.exit_code, 0) << job.output;
    }
    static void TearDownTestSuite() {
        delete scratch_;
        scratch_ = nullptr;
    }
    static std::string model() { return (*scratch_ / "run").string(); }
    static ScratchFolder* scratch_;
};

ScratchFolder* Inference::scratch_ = nullptr;

TEST_F(Inference, predictions_equal_the_reference_on_any_number_of_ranks) {
    const auto reference = read_json(parity("reference.json"))["logits"];
    for (const int ranks : {0, 1, 3}) {
        const fs::path out = *scratch_ / ("predictions-" + std::to_string(ranks) + ".jsonl");
        const JobResult job =
            run_strata(ranks, {"predict", "--model_name_or_path", model(), "--test_file", parity("test.tsv"),
                               "--max_seq_length", "48", "--bf16", "false", "--output", out.string()});
        ASSERT_EQ(job.exit_code, 0) << job.output;
        const auto lines = read_lines(out);
        ASSERT_EQ(lines.size(), reference.size());
        for (std::size_t i = 0; i < lines.size(); ++i) {
            EXPECT_EQ(lines[i]["index"], i);
            for (std::size_t k = 0; k < 2; ++k) {
                EXPECT_NEAR(lines[i]["logits"][k].get<double>(), reference[i][k].get<double>(), 1e-4) << "sample " << i;
            }
            EXPECT_EQ(lines[i]["label"], reference[i][1] > reference[i][0] ? 1 : 0);
        }
    }
}

TEST_F(Inference, evaluation_equals_the_runs_own) {
    const JobResult job =
        run_strata(2, {"evaluate", "--model_name_or_path", model(), "--validation_file", parity("test.tsv"),
                       "--max_seq_length", "48", "--bf16", "false", "--output_dir", (*scratch_ / "eval").string()});
    ASSERT_EQ(job.exit_code, 0) << job.output;
    EXPECT_THAT(job.output, Not(HasSubstr("precision: ")));
    const auto run = read_json(*scratch_ / "run/all_results.json");
    const auto again = read_json(*scratch_ / "eval/all_results.json");
    EXPECT_EQ(again["eval_accuracy"], run["eval_accuracy"]);
    EXPECT_NEAR(again["eval_loss"].get<double>(), run["eval_loss"].get<double>(), 1e-6);
}

/// On what a run in bf16 leaves behind, which has evaluated and predicted itself.
class InferenceInBf16 : public testing::Test {
  protected:
    static void SetUpTestSuite() {
        scratch_ = new ScratchFolder;
        const JobResult job = run_strata(
            2, with(parity_run(2, *scratch_ / "run"), {"--bf16", "true", "--test_file", parity("test.tsv")}));
        ASSERT_EQ(job.exit_code, 0) << job.output;
    }
    static void TearDownTestSuite() {
        delete scratch_;
        scratch_ = nullptr;
    }
    static std::vector<std::string> on_run(const std::string& command, const std::vector<std::string>& flags) {
        return with({command, "--model_name_or_path", (*scratch_ / "run").string(), "--device", "cpu",
                     "--max_seq_length", "48"},
                    flags);
    }
    /// The results of `strata evaluate`, and all that it said.
    static std::pair<nlohmann::json, std::string> evaluated(int ranks, const std::vector<std::string>& flags) {
        const fs::path out = *scratch_ / "eval";
        const JobResult job = run_strata(
            ranks,
            with(on_run("evaluate", {"--validation_file", parity("test.tsv"), "--output_dir", out.string()}), flags));
        EXPECT_EQ(job.exit_code, 0) << job.output;
        return {read_json(out / "all_results.json"), job.output};
    }
    static ScratchFolder* scratch_;
};

ScratchFolder* InferenceInBf16::scratch_ = nullptr;

TEST_F(InferenceInBf16, evaluation_equals_the_runs_own_to_the_last_bit) {
    const auto run = read_json(*scratch_ / "run/all_results.json");
    for (const int ranks : {0, 1, 3}) {
        const auto [again, said] = evaluated(ranks, {"--bf16", "true"});
        EXPECT_EQ(again["eval_loss"], run["eval_loss"]) << ranks;
        EXPECT_EQ(again["eval_accuracy"], run["eval_accuracy"]) << ranks;
        EXPECT_THAT(said, HasSubstr("precision: bf16, as bf16 says"));
        EXPECT_THAT(said, Not(HasSubstr("updated"))) << "nothing learns";
    }
    const double in_fp32 = evaluated(2, {"--bf16", "false"}).first["eval_loss"];
    EXPECT_NE(in_fp32, run["eval_loss"].get<double>());
    EXPECT_NEAR(in_fp32, run["eval_loss"].get<double>(), 0.02);
}

TEST_F(InferenceInBf16, predictions_are_the_runs_own_on_any_number_of_ranks) {
    for (const int ranks : {0, 1, 2}) {
        const std::string out = (*scratch_ / "predictions.jsonl").string();
        const JobResult job = run_strata(
            ranks, on_run("predict", {"--bf16", "true", "--test_file", parity("test.tsv"), "--output", out}));
        ASSERT_EQ(job.exit_code, 0) << job.output;
        EXPECT_EQ(read_file(out), read_file(*scratch_ / "run/predictions.jsonl")) << ranks;
    }
}

TEST_F(InferenceInBf16, by_default_what_computes_decides_as_in_training) {
    const bool has = app::processor_bf16().has;
    const auto [by_default, said] = evaluated(2, {});
    EXPECT_EQ(by_default["eval_loss"], evaluated(2, {"--bf16", has ? "true" : "false"}).first["eval_loss"]);
    EXPECT_THAT(said, HasSubstr(has ? "precision: bf16, since " : "precision: fp32, since "));
    // The run's own file says what the run was.
    const std::string file = (*scratch_ / "run/config.toml").string();
    EXPECT_THAT(evaluated(2, {"--config", file}).second, HasSubstr("precision: bf16, as bf16 says"));
}

TEST_F(InferenceInBf16, standard_output_is_the_results_alone) {
    const fs::path log = *scratch_ / "standard_output";
    const std::string quiet = STRATA_PROGRAM " \"$@\" 2> /dev/null";
    BackgroundJob job(
        with({"sh", "-c", quiet, "strata"}, on_run("evaluate", {"--validation_file", parity("test.tsv")})), log);
    ASSERT_EQ(job.wait(60), 0);
    EXPECT_TRUE(read_json(log).contains("eval_loss"));
}

TEST_F(Inference, a_runs_file_leaves_the_runs_results_alone) {
    const fs::path run = model();
    const auto results = [&] { return read_file(run / "all_results.json") + read_file(run / "eval_results.json"); };
    const std::string before = results();
    const std::string few = scratch_->write("few.tsv", "a good film\t1\na bad film\t0\n");
    const auto evaluate = [&](const std::vector<std::string>& flags) {
        const JobResult job = run_strata(2, with({"evaluate", "--config", (run / "config.toml").string(),
                                                  "--model_name_or_path", run.string(), "--validation_file", few},
                                                 flags));
        EXPECT_EQ(job.exit_code, 0) << job.output;
        return job.output;
    };
    EXPECT_THAT(evaluate({}), testing::AllOf(HasSubstr("config.toml:"), HasSubstr("output_dir is the run's")));
    const fs::path own = *scratch_ / "own" / "few";
    EXPECT_THAT(evaluate({"--output_dir", own.string()}), Not(HasSubstr("output_dir is the run's")));
    EXPECT_EQ(read_json(own / "eval_results.json")["eval_samples"], 2);
    EXPECT_EQ(results(), before);
}

TEST_F(Inference, a_runs_file_is_said_to_name_the_model_that_the_run_began_with) {
    const std::string file = model() + "/config.toml";
    const std::string said = "what it has trained is --model_name_or_path " + model();
    EXPECT_THAT(run_strata(2, {"evaluate", "--config", file}).output, HasSubstr(said));
    EXPECT_THAT(run_strata(0, {"evaluate", "--config", file, "--model_name_or_path", model()}).output,
                Not(HasSubstr("began with")));
    const std::string of_no_run = scratch_->write("run.toml", read_file(file));
    EXPECT_THAT(run_strata(0, {"evaluate", "--config", of_no_run}).output, Not(HasSubstr("began with")));
}

TEST_F(Inference, evaluation_says_which_file_its_figures_are_of) {
    const auto said = [](const std::vector<std::string>& files) {
        const JobResult job = run_strata(0, with({"evaluate", "--model_name_or_path", model()}, files));
        EXPECT_EQ(job.exit_code, 0) << job.output;
        return job.output;
    };
    const std::string held_out = parity("test.tsv");
    const std::string seen = parity("train.tsv");
    EXPECT_THAT(said({"--validation_file", held_out}),
                testing::AllOf(HasSubstr(held_out + ": measured as eval_*\n"), Not(HasSubstr("not measured"))));
    EXPECT_THAT(said({"--test_file", seen}),
                HasSubstr(seen + ": measured as eval_*, since no validation_file is named\n"));
    EXPECT_THAT(said({"--validation_file", held_out, "--test_file", seen}),
                testing::AllOf(HasSubstr(held_out + ": measured as eval_*\n"),
                               HasSubstr(seen + ": not measured, since a validation_file is named\n")));
}

TEST(InferenceOfMnli, evaluation_says_which_figures_are_of_the_mismatched_file) {
    const ScratchFolder scratch;
    const std::string mnli = STRATA_FIXTURES "/data/glue/mnli/";
    const std::string run = (scratch / "run").string();
    const JobResult made = run_strata(0, {"train", "--model_name_or_path", parity("tiny_bert"), "--task_name", "mnli",
                                          "--train_file", mnli + "train.tsv", "--output_dir", run, "--max_steps", "1",
                                          "--ignore_mismatched_sizes", "--per_device_train_batch_size", "1"});
    ASSERT_EQ(made.exit_code, 0) << made.output;
    const JobResult job = run_strata(0, {"evaluate", "--model_name_or_path", run, "--task_name", "mnli",
                                         "--validation_file", mnli + "dev_matched.tsv"});
    EXPECT_THAT(job.output, testing::AllOf(HasSubstr("dev_matched.tsv: measured as eval_*\n"),
                                           HasSubstr("dev_mismatched.tsv: measured as eval_*_mm\n")));
}

TEST_F(Inference, predictions_do_not_look_at_labels) {
    std::string labelled = "text\tlabel\n";
    std::string otherwise = labelled;
    for (const char* text : {"a good film", "a bad film", "no film at all"}) {
        labelled += std::string(text) + "\t1\n";
        otherwise += std::string(text) + "\tmaybe\n";
    }
    const auto predicted = [](const std::string& file) {
        const std::string out = (*scratch_ / "p.jsonl").string();
        const JobResult job =
            run_strata(2, {"predict", "--model_name_or_path", model(), "--test_file", file, "--output", out});
        EXPECT_EQ(job.exit_code, 0) << job.output;
        EXPECT_THAT(job.output, HasSubstr(file + ": text 'text'; not read: 'label'\n"));
        return read_file(out);
    };
    const std::string of_known = predicted(scratch_->write("labelled.tsv", labelled));
    EXPECT_EQ(predicted(scratch_->write("otherwise.tsv", otherwise)), of_known);
    EXPECT_EQ(std::count(of_known.begin(), of_known.end(), '\n'), 3);
}

/// Said once, by the rank that writes.
TEST_F(Inference, results_that_cannot_be_written_are_said_once_by_all_ranks) {
    const fs::path folder = *scratch_ / "taken";
    fs::create_directories(folder / "eval_results.json");
    const JobResult job = run_strata(2, {"evaluate", "--model_name_or_path", model(), "--validation_file",
                                         parity("test.tsv"), "--output_dir", folder.string()});
    EXPECT_EQ(job.exit_code, 1);
    EXPECT_THAT(job.output, testing::AllOf(HasSubstr("eval_results.json"), Not(HasSubstr("MPI_ABORT"))));
}

TEST_F(Inference, a_results_folder_that_cannot_be_is_refused_before_anything_is_evaluated) {
    const std::string file = scratch_->write("file", "");
    const JobResult job = run_strata(2, {"evaluate", "--model_name_or_path", model(), "--validation_file",
                                         parity("test.tsv"), "--output_dir", file});
    EXPECT_EQ(job.exit_code, 2);
    EXPECT_THAT(job.output,
                testing::AllOf(HasSubstr("output_dir " + file + ": is a file"), Not(HasSubstr("eval_loss"))));
}

TEST_F(Inference, a_folder_without_a_head_is_refused) {
    const fs::path folder = *scratch_ / "no-head";
    fs::create_directories(folder);
    for (const char* name : {"config.json", "vocab.txt", "tokenizer_config.json"}) {
        fs::copy(parity(std::string("tiny_bert/") + name), folder, fs::copy_options::overwrite_existing);
    }
    const JobResult job = run_strata(1, {"predict", "--model_name_or_path", folder.string(), "--test_file",
                                         parity("test.tsv"), "--output", (*scratch_ / "none.jsonl").string()});
    EXPECT_EQ(job.exit_code, 2) << job.output;
    EXPECT_FALSE(fs::exists(*scratch_ / "none.jsonl"));
}

TEST_F(Inference, a_folder_that_is_not_there_is_refused_before_anything_is_predicted) {
    const std::string file = (*scratch_ / "none" / "p.jsonl").string();
    const JobResult job = run_strata(
        2, {"predict", "--model_name_or_path", model(), "--test_file", parity("test.tsv"), "--output", file});
    EXPECT_EQ(job.exit_code, 2);
    EXPECT_THAT(job.output, HasSubstr("--output " + file + ": there is no folder"));
}

TEST_F(Inference, training_leaves_a_report_and_report_makes_it_again) {
    const fs::path run = *scratch_ / "run";
    const std::string page = strata::read_file(run / "report.html");
    EXPECT_THAT(page, testing::AllOf(HasSubstr("id=\"loss\""), HasSubstr("id=\"rates\""),
                                     HasSubstr("<h2 id=\"plan-h\">"), HasSubstr("2 ranks")));
    fs::remove(run / "report.html");
    const JobResult job = run_strata(0, {"report", run.string()});
    ASSERT_EQ(job.exit_code, 0) << job.output;
    EXPECT_EQ(job.output, (run / "report.html").string() + "\n");
    EXPECT_EQ(strata::read_file(run / "report.html"), page);
    const fs::path both = *scratch_ / "both.html";
    EXPECT_EQ(run_strata(0, {"report", run.string(), run.string(), "--output", both.string()}).exit_code, 0);
    EXPECT_THAT(strata::read_file(both), HasSubstr("<h1>2 runs</h1>"));
}

TEST_F(Inference, report_refuses_what_is_no_run) {
    const JobResult missing = run_strata(0, {"report", (*scratch_ / "rnu").string()});
    EXPECT_EQ(missing.exit_code, 2);
    EXPECT_THAT(missing.output, testing::AllOf(HasSubstr("rnu: no such folder"), HasSubstr(": run")));
    EXPECT_EQ(run_strata(0, {"report"}).exit_code, 2);
}

TEST_F(Inference, tokenize_prints_a_line_of_ids_for_each_line) {
    const std::string text = scratch_->write("lines.txt", "Wow... Loved this place.\n\nCrust is not good.\r\n");
    const JobResult job = run_strata(0, {"tokenize", "--model_name_or_path", parity("tiny_bert"), "--input", text});
    ASSERT_EQ(job.exit_code, 0) << job.output;
    EXPECT_EQ(std::count(job.output.begin(), job.output.end(), '\n'), 3);
    EXPECT_EQ(job.output.rfind("2 ", 0), 0u) << "[CLS] opens every line";
    EXPECT_THAT(job.output, HasSubstr("\n2 3\n"));
}

TEST(Program, says_its_version_and_its_libraries) {
    const JobResult job = run_strata(0, {"--version"});
    EXPECT_EQ(job.exit_code, 0);
    EXPECT_THAT(job.output, testing::AllOf(HasSubstr("strata 0."), HasSubstr("LibTorch "), HasSubstr("Open MPI"),
                                           HasSubstr("HDF5 ")));
}

TEST(Program, names_itself_once_in_an_error) {
    for (const int ranks : {0, 2}) {
        const std::string output = run_strata(ranks, {"train", "--learning_rat", "1"}).output;
        EXPECT_THAT(output, HasSubstr("strata: train: unknown option --learning_rat."));
        EXPECT_THAT(output, Not(HasSubstr("strata: strata")));
    }
    EXPECT_THAT(run_strata(0, {"trian"}).output, testing::StartsWith("strata: unknown command 'trian'"));
}

TEST_F(Inference, plan_writes_json_and_csv_without_mpi) {
    const fs::path json = *scratch_ / "plan.json";
    const fs::path csv = *scratch_ / "plan.csv";
    const JobResult job =
        run_strata(0, {"plan", "--model_name_or_path", parity("tiny_bert"), "--layer_decay", "0.8", "--max_steps", "20",
                       "--warmup_steps", "4", "--learning_rate", "1e-3", "--ranks", "3", "--bf16", "false", "--json",
                       json.string(), "--csv", csv.string()});
    ASSERT_EQ(job.exit_code, 0) << job.output;
    const auto plan = read_json(json);
    ASSERT_EQ(plan["groups"].size(), 5u);
    EXPECT_EQ(plan["groups"][0]["name"], "embeddings");
    EXPECT_NEAR(plan["groups"][0]["multiplier"].get<double>(), 0.8 * 0.8 * 0.8 * 0.8, 1e-12);
    EXPECT_THAT(job.output, HasSubstr("an estimate for 8 sequences of 64 tokens at once."));
    // Of its three layers the last keeps the first token of each sequence alone.
    EXPECT_GT(plan["stages"][0]["activations"]["estimated_bytes"].get<double>(), 8 * 64 * 2 * (8 * 32 + 2 * 64) * 4);
    EXPECT_EQ(plan["stages"][0]["kept_output_bytes"], 0);
    // The run's own plan.csv, made on two ranks, has the same rates.
    std::ifstream mine(csv);
    std::ifstream runs(*scratch_ / "run/plan.csv");
    for (std::string a, b; std::getline(mine, a);) {
        ASSERT_TRUE(std::getline(runs, b));
        EXPECT_EQ(a, b);
    }
}

}  // namespace
}  // namespace strata::testing_support
