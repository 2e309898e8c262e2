#include "apps/strata/trainer.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <tuple>
#include <utility>

#include "apps/strata/commands.h"
#include "apps/strata/event_scalars.h"
#include "apps/strata/phase_timer.h"
#include "apps/strata/results.h"
#include "apps/strata/saving.h"
#include "apps/strata/threads.h"
#include "core/error.h"
#include "dist/agreement.h"
#include "optim/text_table.h"

namespace strata::app {
namespace {

using Clock = std::chrono::steady_clock;

// What the ranks' votes say.
enum Vote : std::size_t { asked, failed, kinds_of_votes };

}  // namespace

/// What has gathered since the last logged step.
struct Trainer::Window {
    Clock::time_point began = Clock::now();
    std::int64_t steps = 0;
    std::int64_t tokens = 0;
    double forward = 0;
    double backward = 0;
    double reduce = 0;
    double update = 0;
    double gather = 0;
    double save = 0;  // not an update's
};

Trainer::Trainer(const Config& config, Experiment& experiment, const optim::Plan& plan, const RunLength& length,
                 dist::MpiCommunicator& communicator, dist::Communicator* gpus, const RunDirectory& run)
    : config_(config),
      experiment_(experiment),
      plan_(plan),
      length_(length),
      communicator_(communicator),
      run_(run),
      step_(config, experiment, plan, length, communicator, gpus),
      saver_(config, communicator, step_.storage().memory_kind(), run.path()),
      best_rule_(best_model_rule(config)) {
    describe_steps();
}

/// What a resume must find again.
void Trainer::describe_steps() {
    progress_.global_batch_size = length_.global_batch_size;
    progress_.micro_batches = length_.micro_batches;
    progress_.threads = thread_count();
}

double Trainer::epoch() const {
    return static_cast<double>(progress_.step) / static_cast<double>(length_.steps_per_epoch);
}

bool Trainer::ends_epoch(std::int64_t step) const {
    return step % length_.steps_per_epoch == 0;
}

bool Trainer::evaluates_after(std::int64_t step) const {
    if (experiment_.validation.empty()) return false;
    // The end evaluates anyway, but then the choice of the best model is made.
    if (step == length_.total_steps && !best_rule_) return false;
    const std::string strategy = eval_strategy_of(config_);
    if (strategy == "steps") return step % *config_.eval_steps == 0;
    return strategy == "epoch" && ends_epoch(step);
}

bool Trainer::saves_after(std::int64_t step) const {
    if (config_.save_strategy == "no") return false;
    if (step == length_.total_steps) return true;
    return config_.save_strategy == "epoch" ? ends_epoch(step) : step % config_.save_steps == 0;
}

TrainOutcome Trainer::run(const StopSignal& stop) {
    const auto began = Clock::now();
    TrainOutcome outcome;
    Window window;
    if (communicator_.rank() == 0 && config_.report_to == "tensorboard")
        events_.emplace(run_.path(), progress_.step + 1);
    Progress bar(Progress::mode_of(config_.progress, communicator_.rank()), "train", length_.total_steps);
    while (progress_.step < length_.total_steps && !outcome.stopped) {
        announce_stage(bar);
        const std::int64_t step = progress_.step + 1;
        const bool goes_on = step < length_.total_steps && !evaluates_after(step) && !saves_after(step);
        const auto votes = [&] {
            std::vector<double> cast(kinds_of_votes);
            cast[asked] = stop.requested() ? 1 : 0;
            cast[failed] = saver_.must_stop() ? 1 : 0;
            return cast;
        };
        const MadeStep made = step_.make(progress_.step, logs_after(step), goes_on, votes);
        count(made.work, window, outcome);
        announce_kept_outputs(bar);
        log(made.report, window, bar);
        saver_.poll(bar);
        outcome.stopped = agreed_to_stop(made.report, bar);
        const auto paused = Clock::now();
        if (evaluates_after(progress_.step)) evaluate_and_log(bar);
        if (saves_after(progress_.step) || outcome.stopped) save(window, bar);
        window.began += Clock::now() - paused;  // the logged speed is that of training
    }
    saver_.finish(bar);
    outcome.seconds = seconds_since(began);
    return outcome;
}

/// Whether any rank was asked to save and stop. Throws, on all ranks, where one of them knows of a failed save that is
/// to stop the run.
bool Trainer::agreed_to_stop(const dist::StepReport& report, Progress& bar) {
    if (report.votes[failed] > 0) saver_.finish(bar);
    return report.votes[asked] > 0;
}

/// Where a stage begins, and where a run goes on in one, says what learns from here.
void Trainer::announce_stage(Progress& bar) {
    const optim::Stage& stage = plan_.stage_at(progress_.step);
    if (plan_.stages.size() == 1 || &stage == announced_) return;
    announced_ = &stage;
    std::vector<std::string> names;
    for (std::size_t group = 0; group < plan_.groups.size(); ++group) {
        if (stage.trainable[group]) names.push_back(plan_.groups[group].name);
    }
    bar.line(fmt::format("stage {}, updates {} to {}: {} of {} groups learn: {}", stage.name, stage.first_step + 1,
                         stage.end_step, names.size(), plan_.groups.size(), fmt::join(names, ", ")));
}

/// Once a stage, when no sample needs the frozen backbone any more.
void Trainer::announce_kept_outputs(Progress& bar) {
    const FrozenOutputs& outputs = step_.frozen_outputs();
    const bool complete = outputs.complete();
    if (complete && !kept_outputs_announced_) {
        bar.line(fmt::format("outputs of the frozen backbone kept: {} samples, {}", outputs.kept(),
                             optim::byte_text(outputs.bytes())));
    }
    kept_outputs_announced_ = complete;
}

void Trainer::count(const StepWork& work, Window& window, TrainOutcome& outcome) {
    window.forward += work.forward_seconds;
    window.backward += work.backward_seconds;
    window.tokens += work.tokens;
    progress_.tokens += work.tokens;
    progress_.samples += work.samples;
    outcome.tokens += work.tokens;
    outcome.samples += work.samples;
    ++outcome.steps;
}

void Trainer::log(const dist::StepReport& report, Window& window, Progress& bar) {
    progress_.step += 1;
    if (open_report_) count(*std::exchange(open_report_, std::nullopt));
    if (report.settled) {
        count(report);
    } else {
        open_report_ = report;
    }
    window.steps += 1;
    window.reduce += report.seconds.reduce;
    window.update += report.seconds.norm + report.seconds.update;
    window.gather += report.seconds.gather;
    bar.advance(progress_.step, fmt::format("loss {:.4f}", last_loss_));
    if (!logs_after(progress_.step)) return;

    const auto steps = static_cast<double>(window.steps);
    StepRecord record;
    record.step = progress_.step;
    record.total_steps = length_.total_steps;
    record.epoch = epoch();
    record.loss = report.loss;
    record.mean_loss = progress_.unlogged_loss_sum / static_cast<double>(progress_.unlogged_steps);
    record.grad_norm = report.grad_norm;
    record.tokens_per_second = static_cast<double>(window.tokens) / seconds_since(window.began);
    record.save_seconds = window.save;
    record.skipped_steps = progress_.skipped_steps;
    if (progress_.loss_scale) record.loss_scale = report.loss_scale;
    record.replays = step_.optimizer().replays();
    record.pass_replays = step_.optimizer().pass_replays();
    if (plan_.stages.size() > 1) record.stage = plan_.stage_at(progress_.step - 1).name;
    record.bytes_sent = report.traffic.bytes();
    record.optimizer_bytes = step_.storage().memory().state_bytes;
    for (std::size_t group = 0; group < plan_.groups.size(); ++group) {
        const std::string& name = plan_.groups[group].name;
        record.learning_rates.emplace_back(name, plan_.learning_rate(group, progress_.step - 1));
        record.group_grad_norms.emplace_back(name, report.group_grad_norms[group]);
        record.group_weight_norms.emplace_back(name, report.group_weight_norms[group]);
        record.group_update_ratios.emplace_back(name, report.group_update_ratios[group]);
    }
    record.phase_seconds = {{"forward", window.forward / steps},
                            {"backward", window.backward / steps},
                            {"reduce", window.reduce / steps},
                            {"update", window.update / steps},
                            {"gather", window.gather / steps}};
    progress_.log_history.push_back({{"step", record.step},
                                     {"epoch", record.epoch},
                                     {"loss", record.mean_loss},
                                     {"grad_norm", record.grad_norm},
                                     {"learning_rate", record.learning_rates.back().second}});
    write_log(
        [&] {
            run_.append_metrics(to_json(record));
            if (events_) events_->append(record.step, scalars_of(record));
        },
        bar);
    bar.line(log_line(record));
    progress_.unlogged_steps = 0;
    progress_.unlogged_loss_sum = 0;
    window = Window{};
}

/// A report's part of what adds up over the run.
void Trainer::count(dist::StepReport report) {
    step_.optimizer().settle(report);
    last_loss_ = report.loss;
    progress_.loss_sum += report.loss;
    progress_.skipped_steps += report.skipped ? 1 : 0;
    progress_.loss_scale = step_.optimizer().loss_scale();
    progress_.unlogged_steps += 1;
    progress_.unlogged_loss_sum += report.loss;
}

nlohmann::json Trainer::evaluate() {
    nlohmann::json results = evaluate_sets(config_, experiment_, communicator_);
    results["epoch"] = epoch();
    return results;
}

void Trainer::evaluate_and_log(Progress& bar) {
    nlohmann::json results = evaluate();
    results["step"] = progress_.step;
    // The run's clock is not part of its history: a resumed run must have the same one.
    nlohmann::json entry = nlohmann::json::object();
    for (const auto& [name, value] : results.items()) {
        if (name.find("runtime") == std::string::npos && name.find("per_second") == std::string::npos)
            entry[name] = value;
    }
    progress_.log_history.push_back(entry);
    write_log(
        [&] {
            run_.append_evaluation(results);
            write_events(results);
        },
        bar);
    bar.line(results_text(results));
    note_best(results, bar);
}

void Trainer::save_model(const std::filesystem::path& folder) {
    const models::NamedTensors full = step_.optimizer().full_parameters(experiment_.model().named_parameter_list());
    dist::collectively(communicator_, "saving the trained model", [&] {
        if (communicator_.rank() == 0) experiment_.model().folder_writer(experiment_.tokenizer_folder)(folder, full);
    });
}

std::filesystem::path Trainer::folder_of(std::int64_t step) const {
    return run_.path() / fmt::format("checkpoint-{}", step);
}

/// A save that only a signal asks for does not count: the run that is not stopped has no such checkpoint.
void Trainer::note_best(const nlohmann::json& results, Progress& bar) {
    if (!best_rule_ || !saves_after(progress_.step)) return;
    settle_best(bar);
    const std::optional<double> value = best_rule_->better(results, progress_.best_metric);
    if (!value) return;
    former_best_ = Best{std::exchange(progress_.best_metric, value),
                        std::exchange(progress_.best_model_checkpoint, folder_of(progress_.step).string())};
}

/// Where the best checkpoint could not be saved, the former one is the best again.
void Trainer::settle_best(Progress& bar) {
    if (!former_best_) return;
    saver_.finish(bar);
    if (saver_.last_failed()) {
        std::tie(progress_.best_metric, progress_.best_model_checkpoint) =
            std::tie(former_best_->metric, former_best_->folder);
        const std::string& best = former_best_->folder;
        if (communicator_.rank() == 0)
            bar.warn(best.empty() ? "no checkpoint is the best so far" : best + " is the best again");
    }
    former_best_.reset();
}

void Trainer::load_best_model() {
    const std::string& best = progress_.best_model_checkpoint;
    if (best.empty()) return say(communicator_, "no evaluation was the best; the last model stays");
    say(communicator_,
        fmt::format("the best model is {}: {} {:.6g}", best, best_rule_->metric, *progress_.best_metric));
    if (best == folder_of(progress_.step)) return;
    dist::collectively(communicator_, "loading the best model", [&] {
        try {
            load_weights(best, experiment_.model(), step_.storage());
        } catch (const std::runtime_error& error) {
            system_error(
                "{}: the best model cannot be loaded; to end with the last one, say --resume_from_checkpoint auto "
                "--load_best_model_at_end false",
                error.what());
        }
    });
}

/// On rank 0. A line of a log is worth no more than a checkpoint: what becomes of a run that cannot write one goes for
/// the other. Said once, until it works again.
void Trainer::write_log(const std::function<void()>& write, Progress& bar) {
    if (communicator_.rank() != 0) return;
    try {
        write();
        log_fails_ = false;
    } catch (const std::runtime_error& error) {
        if (config_.on_save_error == "stop") throw;
        if (!log_fails_) bar.warn(fmt::format("{}. Training goes on; what cannot be logged is lost", error.what()));
        log_fails_ = true;
    }
}

void Trainer::write_events(const nlohmann::json& results) const {
    if (events_) events_->append(progress_.step, scalars_of(results));
}

void Trainer::save(Window& window, Progress& bar) {
    if (open_report_) count(*std::exchange(open_report_, std::nullopt));  // a signal's save comes unforeseen
    const bool is_best = progress_.best_model_checkpoint == folder_of(progress_.step);
    if (!is_best) settle_best(bar);
    std::vector<std::filesystem::path> best;
    for (const std::string& folder : {progress_.best_model_checkpoint, former_best_ ? former_best_->folder : ""}) {
        if (!folder.empty()) best.emplace_back(folder);
    }
    window.save += saver_.save(
        checkpoint_content(config_, experiment_, plan_, step_.storage(), progress_, epoch(), step_.ranks()), best, bar);
}

void Trainer::resume(const std::filesystem::path& checkpoint) {
    progress_ = restore(checkpoint, config_, experiment_, plan_, step_.storage(), communicator_);
    describe_steps();
    if (progress_.step > length_.total_steps) {
        throw dist::AgreedUserError(
            fmt::format("{}: is at update {}, but this run ends at {}; raise num_train_epochs or max_steps",
                        checkpoint.string(), progress_.step, length_.total_steps));
    }
    find_best_model(checkpoint);
    step_.optimizer().gather_parameters();
    if (step_.optimizer().loss_scale() && progress_.loss_scale) step_.optimizer().set_loss_scale(*progress_.loss_scale);
    step_.buffers().adopt();
}

/// The best checkpoint may have moved with the one that the run goes on from, and may be gone.
void Trainer::find_best_model(const std::filesystem::path& resumed) {
    std::string& best = progress_.best_model_checkpoint;
    std::error_code ignored;
    if (best.empty() || std::filesystem::is_directory(best, ignored)) return;
    const auto beside = std::filesystem::absolute(resumed).parent_path() / std::filesystem::path(best).filename();
    if (std::filesystem::is_directory(beside, ignored)) {
        best = beside.string();
        return;
    }
    say(communicator_, fmt::format("{}, the best model so far, is gone: the best is chosen from here on", best));
    best.clear();
    progress_.best_metric.reset();
}

}  // namespace strata::app
