// strata train: load, plan, make or resume the run, train, measure, leave the results.
#include <algorithm>
#include <cstdio>

#include "apps/strata/best_model.h"
#include "apps/strata/captured_passes.h"
#include "apps/strata/commands.h"
#include "apps/strata/device.h"
#include "apps/strata/experiment.h"
#include "apps/strata/input_files.h"
#include "apps/strata/model_costs.h"
#include "apps/strata/options.h"
#include "apps/strata/provenance.h"
#include "apps/strata/report/page.h"
#include "apps/strata/results.h"
#include "apps/strata/resuming.h"
#include "apps/strata/run_directory.h"
#include "apps/strata/stop_signal.h"
#include "apps/strata/threads.h"
#include "apps/strata/train_plan.h"
#include "apps/strata/trainer.h"
#include "core/error.h"
#include "core/file.h"
#include "dist/agreement.h"
#include "dist/checkpoint.h"
#include "dist/io_proof.h"
#include "dist/mpi_environment.h"
#include "optim/plan_output.h"

namespace strata::app {
namespace fs = std::filesystem;
namespace {

std::string data_summary(const Experiment& experiment) {
    std::string text = fmt::format("data: {} training samples", experiment.train->size());
    for (const auto& set : experiment.validation) text += fmt::format(", {} for evaluation", set.corpus->size());
    if (experiment.test) text += fmt::format(", {} to predict", experiment.test->size());
    if (experiment.regression()) return text + "; regression";
    text += "; labels:";
    for (const auto& name : experiment.labels.names) text += " " + name;
    return text;
}

/// Starting a run over removes the earlier one, which must not be what this run starts from.
void require_model_elsewhere(const Config& config) {
    const std::string& source = config.torchscript.empty() ? config.model_name_or_path : config.torchscript;
    const fs::path model = fs::weakly_canonical(source);
    const fs::path run = fs::weakly_canonical(config.output_dir);
    const bool inside = std::mismatch(run.begin(), run.end(), model.begin(), model.end()).first == run.end();
    if (inside) {
        user_error("{} {} lies in output_dir {}, which this run would overwrite; name another output_dir",
                   config.torchscript.empty() ? "model_name_or_path" : "torchscript", source, config.output_dir);
    }
}

/// What the run is, without how this start of it treats what lies in output_dir: a new run from the file, in another
/// folder, would go on with what it finds there, or write over it.
Config as_run_again(Config config) {
    config.resume_from_checkpoint.clear();
    config.overwrite_output_dir = false;
    config.allow_changes = false;
    return config;
}

/// Writes what was asked for before it is done: a run that dies has still said what it was.
void begin_run(const Config& config, const RunDirectory& run, const optim::Plan& plan, const std::string& provenance,
               bool resumes, std::int64_t step) {
    if (resumes) {
        run.resume(step);
    } else {
        require_model_elsewhere(config);
        // "auto" with no checkpoint yet means from the start, whatever an attempt that saved nothing has left; but a
        // trained model is no attempt.
        const bool from_start = config.resume_from_checkpoint == "auto";
        if (from_start && run.finished()) {
            user_error(
                "output_dir {}: holds a finished run without checkpoints, from which none can go on. Start over: "
                "--overwrite_output_dir true in place of --resume_from_checkpoint; or name another folder",
                config.output_dir);
        }
        run.start(config.overwrite_output_dir || from_start);
    }
    run.write_text(config_name, to_toml(as_run_again(config), command_train, true));
    run.write_text("plan.csv", optim::plan_csv(plan));
    run.write_text(plan_name, optim::plan_json(plan).dump() + "\n");
    run.write_text(provenance_name, provenance + "\n");
}

/// Where this process made no update, without what its clock would say.
nlohmann::json train_results(const Trainer& trainer, const TrainOutcome& outcome) {
    const TrainProgress& progress = trainer.progress();
    nlohmann::json results = {
        {"epoch", trainer.epoch()},
        {"train_loss", progress.loss_sum / static_cast<double>(std::max<std::int64_t>(1, progress.step))},
        {"train_samples", progress.samples},
        {"train_steps", progress.step},
    };
    if (progress.skipped_steps > 0) results["train_skipped_steps"] = progress.skipped_steps;
    if (outcome.steps == 0) return results;
    const double seconds = std::max(outcome.seconds, 1e-9);
    results["train_runtime"] = outcome.seconds;
    results["train_samples_per_second"] = static_cast<double>(outcome.samples) / seconds;
    results["train_steps_per_second"] = static_cast<double>(outcome.steps) / seconds;
    results["train_tokens_per_second"] = static_cast<double>(outcome.tokens) / seconds;
    return results;
}

/// What the folder says already of the same training, clock and all, where this process made none of it.
nlohmann::json with_former_clock(const nlohmann::json& results, const RunDirectory& run) {
    const nlohmann::json former = run.results("train");
    nlohmann::json both = former;
    both.update(results);
    return both == former ? former : results;
}

/// A page that cannot be drawn costs no run its end.
void write_report(const RunDirectory& run) {
    try {
        run.write_text(report_name, report::report_page({run.path()}));
        std::printf("Its report is %s\n", (run.path() / report_name).c_str());
    } catch (const std::exception& error) {
        std::fprintf(stderr, "strata: no %s: %s\n", report_name, error.what());
    }
}

void finish(const Config& config, Trainer& trainer, const TrainOutcome& outcome, const Experiment& experiment,
            const RunDirectory& run, dist::Communicator& communicator) {
    // In the run directory itself, where `AutoModel…from_pretrained(output_dir)` looks for it.
    trainer.save_model(run.path());
    nlohmann::json results = train_results(trainer, outcome);
    const nlohmann::json evaluation = experiment.validation.empty() ? nlohmann::json::object() : trainer.evaluate();
    if (experiment.test) predict_test(config, experiment, run.path() / "predictions.jsonl", communicator);
    dist::collectively(communicator, "writing the results", [&] {
        if (communicator.rank() != 0) return;
        if (outcome.steps == 0) results = with_former_clock(results, run);
        run.write_results("train", results);
        trainer.write_events(results);
        if (evaluation.empty()) return;
        run.write_results("eval", evaluation);
        trainer.write_events(evaluation);
    });
    say(communicator, results_text(results));
    if (!evaluation.empty()) say(communicator, results_text(evaluation));
    say(communicator, fmt::format("The trained model, its checkpoints and results are in {}", run.path().string()));
    if (communicator.rank() == 0) write_report(run);
}

}  // namespace

void say(const dist::Communicator& communicator, const std::string& text) {
    if (communicator.rank() != 0) return;
    std::printf("%s\n", text.c_str());
    std::fflush(stdout);
}

int run_train(const Config& given, dist::MpiCommunicator& communicator) {
    const StopSignal stop;
    Config config = given;
    if (config.output_dir.empty()) throw dist::AgreedUserError("--output_dir is missing: name the folder for this run");
    const torch::Device device = choose_device(config, communicator);
    Experiment experiment =
        dist::collectively(communicator, "loading model and data", [&] { return load_for_training(config); });
    if (const auto rule = best_model_rule(config)) {
        dist::collectively(communicator, "checking metric_for_best_model",
                           [&] { check_best_metric(*rule, evaluation_names(config, experiment)); });
    }
    if (communicator.local_size() < communicator.size()) {
        dist::require_equal_everywhere(communicator, "the content of the files",
                                       dist::collectively(communicator, "comparing the files",
                                                          [&] { return input_files_text(config, experiment); }));
    }
    const std::optional<fs::path> checkpoint = checkpoint_to_resume(config, communicator);
    const std::optional<dist::TrainHeader> saved = saved_header(checkpoint, communicator);
    const std::string precision =
        settle_precision(config, device, communicator, saved ? std::optional(saved->effective_config) : std::nullopt);
    const int per_host = ranks_per_host(config, communicator);
    const auto planned = dist::collectively(communicator, "planning", [&] {
        const RunLength run = run_length(config, experiment.train->size(), communicator.size());
        return std::pair(make_train_plan(config, experiment.manifest(), run, communicator.size(), per_host), run);
    });
    const optim::Plan& plan = planned.first;
    const RunLength& length = planned.second;
    dist::require_equal_everywhere(communicator, "the plan", plan.hash());

    const RunDirectory run(config.output_dir);
    const std::int64_t from =
        checkpoint ? dist::collectively(communicator, "reading the checkpoint",
                                        [&] { return check_resumable(*checkpoint, *saved, config, plan, length); })
                   : 0;
    dist::collectively(communicator, "preparing " + config.output_dir, [&] {
        if (communicator.rank() == 0)
            begin_run(config, run, plan, provenance(communicator), checkpoint.has_value(), from);
    });

    dist::prove_parallel_io(communicator, run.path());

    say(communicator, experiment.load_report);
    say(communicator, data_summary(experiment));
    for (const auto& note : experiment.data_notes) say(communicator, note);
    say(communicator, fmt::format("job: {} rank(s) of {} thread(s); {} updates of {} samples", communicator.size(),
                                  thread_count(), length.total_steps, length.global_batch_size));
    if (!precision.empty()) say(communicator, precision);
    say(communicator, optim::plan_table(plan, model_costs(config, plan, experiment.train->size())));
    if (!device.is_cpu()) say(communicator, fmt::format("device: {}, one a rank", device_text(device)));
    if (captures_updates(config, device)) {
        const std::string direct = why_passes_are_direct(experiment.model());
        say(communicator, direct.empty() ? "CUDA graphs: of passes, their batches padded to few shapes, and of updates"
                                         : "CUDA graphs: of updates alone, since " + direct);
    }
    move_model(experiment.model(), device);
    const auto gpus = gpu_communicator(config, device, communicator);
    Trainer trainer(config, experiment, plan, length, communicator, gpus.get(), run);
    if (checkpoint) {
        trainer.resume(*checkpoint);
        const bool finished = trainer.progress().step == length.total_steps;
        say(communicator, fmt::format("going on from {} at update {}{}", checkpoint->string(), trainer.progress().step,
                                      finished ? ", the run's last: nothing is left to train" : ""));
    } else if (!config.resume_from_checkpoint.empty()) {
        say(communicator, fmt::format("no whole checkpoint in {}: from the start", config.output_dir));
    }
    if (config.async_save && !dist::threads_may_communicate()) {
        say(communicator,
            "training stands still while it is saved: this MPI gives no MPI_THREAD_MULTIPLE, which async_save needs");
    }
    const TrainOutcome outcome = trainer.run(stop);
    if (outcome.stopped) trainer.require_last_saved();
    if (outcome.stopped && trainer.progress().step < length.total_steps) {
        say(communicator,
            fmt::format("stopped on a signal after saving update {}; go on with --resume_from_checkpoint auto",
                        trainer.progress().step));
        return exit_stopped;
    }
    if (config.load_best_model_at_end) trainer.load_best_model();
    finish(config, trainer, outcome, experiment, run, communicator);
    trainer.require_last_saved();
    return exit_done;
}

}  // namespace strata::app
