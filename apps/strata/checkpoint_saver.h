// A run's saves: at once or while training goes on, what is said of them, and what follows when one fails.
//
// With async_save the rank's slices are copied and training goes on; a thread writes the copy through a communicator of
// its own, reads it back, syncs, renames and then rotates. One save is under way at a time: the next waits for it. HDF5
// is not for two threads: whoever else reads or writes it calls finish() first.
//
// A save that fails fails on all ranks alike. With on_save_error = continue it is told at once, training goes on, and
// the next save is tried; the run ends with the error if its last save failed. With stop it ends the run.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "apps/strata/config.h"
#include "apps/strata/training_log.h"
#include "dist/background_task.h"
#include "dist/checkpoint.h"
#include "dist/mpi_communicator.h"
#include "dist/state_snapshot.h"

namespace strata::app {

class CheckpointSaver {
  public:
    /// Collective. `memory`: where the state lies that is saved.
    CheckpointSaver(const Config& config, dist::MpiCommunicator& communicator, dist::Memory memory,
                    std::filesystem::path output_dir);

    /// Saves, sparing `kept` checkpoints from rotation, and returns how many seconds the caller stood still for it.
    /// Collective. Throws a failed save's error where the run is to stop then.
    double save(dist::CheckpointContent content, std::vector<std::filesystem::path> kept, Progress& bar);

    /// Tells what became of a save in the background, if this rank is done with it.
    void poll(Progress& bar);

    /// Waits for it, tells, and throws its error where the run is to stop then.
    void finish(Progress& bar);

    /// Whether this rank knows of a failed save that is to stop the run. All ranks will: agree, then finish().
    bool must_stop() const { return stops_ && failure_.has_value(); }

    /// Whether the last save failed. After finish().
    bool last_failed() const { return failure_.has_value(); }

    /// Throws the last save's error, if it failed, on all ranks. After finish().
    void require_last_saved() const;

  private:
    struct Failure {
        std::string message;
        bool users_to_mend = false;
    };

    void write(dist::MpiCommunicator& communicator, const dist::CheckpointContent& content,
               const std::vector<std::filesystem::path>& kept);
    bool copy_state(dist::CheckpointContent& content, Progress& bar);
    void settle(const std::function<void()>& end, Progress& bar);
    void tell(Progress& bar) const;

    dist::MpiCommunicator& communicator_;
    std::filesystem::path output_dir_;
    std::int64_t limit_;
    bool stops_;
    std::optional<Failure> failure_;  // the last save's
    // Of the save under way or the last one. A thread's until it is finished:
    double written_seconds_ = 0;
    std::string rotation_trouble_;
    // and training's:
    std::string name_;
    double stood_still_ = 0;
    dist::StateSnapshot snapshot_;
    std::optional<dist::BackgroundTask> background_;
};

}  // namespace strata::app
