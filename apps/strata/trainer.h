// The training loop, top to bottom: make a step (train_step.h), log, evaluate, save, stop.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "apps/strata/best_model.h"
#include "apps/strata/checkpoint_saver.h"
#include "apps/strata/config.h"
#include "apps/strata/event_file.h"
#include "apps/strata/experiment.h"
#include "apps/strata/run_directory.h"
#include "apps/strata/stop_signal.h"
#include "apps/strata/train_plan.h"
#include "apps/strata/train_progress.h"
#include "apps/strata/train_step.h"
#include "apps/strata/training_log.h"
#include "dist/mpi_communicator.h"

namespace strata::app {

struct TrainOutcome {
    bool stopped = false;    ///< a signal ended the run after saving
    double seconds = 0;      ///< this process's share of the run
    std::int64_t steps = 0;  ///< made by this process
    std::int64_t samples = 0;
    std::int64_t tokens = 0;
};

class Trainer {
  public:
    Trainer(const Config& config, Experiment& experiment, const optim::Plan& plan, const RunLength& length,
            dist::MpiCommunicator& communicator, dist::Communicator* gpus, const RunDirectory& run);

    /// Takes weights, moments and progress from a checkpoint. Prints what was not carried.
    void resume(const std::filesystem::path& checkpoint);

    /// All saves are done when it returns.
    TrainOutcome run(const StopSignal& stop);

    /// Puts the best checkpoint's weights into the model, where a rule says which is best and it is not the last. Ends
    /// the training. Says so. SystemError where it is damaged or gone.
    void load_best_model();

    /// Writes the model as it is now, in fp32, ready to be loaded again. Collective.
    void save_model(const std::filesystem::path& folder);

    /// Throws the last save's error, if it failed and training went on nevertheless.
    void require_last_saved() const { saver_.require_last_saved(); }

    /// eval_loss, eval_accuracy, …, eval_runtime on the validation files.
    nlohmann::json evaluate();

    /// Adds results by name to the run's TensorBoard events, at the last update's step.
    void write_events(const nlohmann::json& results) const;

    const TrainProgress& progress() const { return progress_; }
    double epoch() const;

  private:
    struct Window;

    void describe_steps();
    bool agreed_to_stop(const dist::StepReport& report, Progress& bar);
    void announce_stage(Progress& bar);
    void announce_kept_outputs(Progress& bar);
    void count(const StepWork& work, Window& window, TrainOutcome& outcome);
    void log(const dist::StepReport& report, Window& window, Progress& bar);
    void count(dist::StepReport report);
    void evaluate_and_log(Progress& bar);
    void note_best(const nlohmann::json& results, Progress& bar);
    void settle_best(Progress& bar);
    void find_best_model(const std::filesystem::path& resumed);
    std::filesystem::path folder_of(std::int64_t step) const;
    void save(Window& window, Progress& bar);
    void write_log(const std::function<void()>& write, Progress& bar);
    bool logs_after(std::int64_t step) const { return step % config_.logging_steps == 0; }
    bool evaluates_after(std::int64_t step) const;
    bool saves_after(std::int64_t step) const;
    bool ends_epoch(std::int64_t step) const;

    const Config& config_;
    Experiment& experiment_;
    const optim::Plan& plan_;
    RunLength length_;
    dist::MpiCommunicator& communicator_;
    const RunDirectory& run_;
    TrainStep step_;
    CheckpointSaver saver_;
    TrainProgress progress_;
    std::optional<BestModelRule> best_rule_;
    struct Best {
        std::optional<double> metric;
        std::string folder;
    };
    std::optional<Best> former_best_;              // spared until the new best checkpoint is known to be whole
    std::optional<EventFile> events_;              // rank 0's, where they are wanted
    std::optional<dist::StepReport> open_report_;  // the last update's, where a GPU has not said yet how it went
    double last_loss_ = 0;
    bool log_fails_ = false;
    const optim::Stage* announced_ = nullptr;
    bool kept_outputs_announced_ = false;
};

}  // namespace strata::app
