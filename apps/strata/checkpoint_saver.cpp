#include "apps/strata/checkpoint_saver.h"

#include <fmt/format.h>

#include <chrono>

#include "apps/strata/phase_timer.h"
#include "core/error.h"
#include "dist/agreement.h"
#include "dist/mpi_environment.h"

namespace strata::app {
namespace fs = std::filesystem;
namespace {

using Clock = std::chrono::steady_clock;

}  // namespace

CheckpointSaver::CheckpointSaver(const Config& config, dist::MpiCommunicator& communicator, dist::Memory memory,
                                 fs::path output_dir)
    : communicator_(communicator),
      output_dir_(std::move(output_dir)),
      limit_(config.save_total_limit),
      stops_(config.on_save_error == "stop"),
      snapshot_(memory) {
    if (config.async_save && dist::threads_may_communicate()) background_.emplace(communicator);
}

double CheckpointSaver::save(dist::CheckpointContent content, std::vector<fs::path> kept, Progress& bar) {
    const auto began = Clock::now();
    if (background_ && background_->started() && !background_->done())
        bar.line(fmt::format("{} is still being written: the next save waits for it", name_));
    finish(bar);
    name_ = fmt::format("checkpoint-{}", content.header.step);
    if (background_ && copy_state(content, bar)) {
        stood_still_ = seconds_since(began);
        background_->start([this, content = std::move(content), kept = std::move(kept)](dist::MpiCommunicator& own) {
            write(own, content, kept);
        });
        return stood_still_;
    }
    settle(
        [&] {
            dist::collectively(communicator_, "copying the state", [&] { snapshot_.stage(content.groups); });
            write(communicator_, content, kept);
        },
        bar);
    if (must_stop()) require_last_saved();
    return seconds_since(began);
}

/// Where one rank has no room for a copy, all save as if none were wanted.
bool CheckpointSaver::copy_state(dist::CheckpointContent& content, Progress& bar) {
    try {
        dist::collectively(communicator_, "copying the state", [&] { snapshot_.take(content.groups); });
        return true;
    } catch (const dist::AgreedSystemError& error) {
        background_.reset();
        bar.line(fmt::format("no memory for a copy of the state ({}): training stands still while it is saved",
                             error.what()));
        return false;
    }
}

void CheckpointSaver::write(dist::MpiCommunicator& communicator, const dist::CheckpointContent& content,
                            const std::vector<fs::path>& kept) {
    const auto began = Clock::now();
    rotation_trouble_.clear();
    dist::write_checkpoint(communicator, output_dir_, content);
    written_seconds_ = seconds_since(began);
    try {
        if (communicator.rank() == 0) dist::rotate_checkpoints(output_dir_, limit_, kept);
    } catch (const std::runtime_error& error) {
        rotation_trouble_ = error.what();
    }
}

void CheckpointSaver::poll(Progress& bar) {
    if (background_ && background_->started() && background_->done()) settle([&] { background_->finish(); }, bar);
}

void CheckpointSaver::finish(Progress& bar) {
    if (background_ && background_->started()) settle([&] { background_->finish(); }, bar);
    if (must_stop()) require_last_saved();
}

/// The end of a save: what it throws on all ranks alike is kept and told.
void CheckpointSaver::settle(const std::function<void()>& end, Progress& bar) {
    const auto began = Clock::now();
    failure_.reset();
    try {
        end();
    } catch (const std::exception& error) {
        if (!dist::is_agreed(error)) throw;
        failure_ = Failure{error.what(), dynamic_cast<const UserError*>(&error) != nullptr};
    }
    if (!background_) stood_still_ = seconds_since(began);
    if (communicator_.rank() == 0) tell(bar);
}

void CheckpointSaver::tell(Progress& bar) const {
    if (!failure_) {
        bar.line(fmt::format("{} saved in {:.2f} s, for which training stood still {:.3f} s", name_, written_seconds_,
                             stood_still_));
        if (!rotation_trouble_.empty()) bar.warn("an old checkpoint stays: " + rotation_trouble_);
    } else if (!stops_) {
        bar.warn(fmt::format("{} WAS NOT SAVED: {}. Training goes on and the next save will be tried", name_,
                             failure_->message));
    }
}

void CheckpointSaver::require_last_saved() const {
    if (!failure_) return;
    const std::string message = fmt::format("{} was not saved: {}", name_, failure_->message);
    if (failure_->users_to_mend) throw dist::AgreedUserError(message);
    throw dist::AgreedSystemError(message);
}

}  // namespace strata::app
