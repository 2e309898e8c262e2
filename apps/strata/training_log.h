// What rank 0 says while a run goes on: a bar on a terminal, plain lines elsewhere, one object a logged step.
#pragma once

#include <chrono>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "optim/replayed_work.h"

namespace strata::app {

/// One logged update. Seconds are means over the updates since the last logged one.
struct StepRecord {
    std::int64_t step = 0;  ///< updates made
    std::int64_t total_steps = 0;
    double epoch = 0;
    double loss = 0;       ///< this update's, the mean over its whole global batch
    double mean_loss = 0;  ///< mean over the updates since the last logged one
    double grad_norm = 0;  ///< global, before clipping
    double tokens_per_second = 0;
    std::string stage;                 ///< the plan's; empty where there is but one
    std::int64_t bytes_sent = 0;       ///< by this rank for this update
    std::int64_t optimizer_bytes = 0;  ///< of state on this rank: falls and rises as groups freeze and thaw
    double save_seconds = 0;           ///< that training stood still for saves since the last logged one
    std::int64_t skipped_steps = 0;    ///< updates skipped so far because a gradient was not finite
    std::optional<double> loss_scale;  ///< fp16's
    optim::ReplayCounts replays;       ///< so far, of updates; all zero where nothing is captured
    optim::ReplayCounts pass_replays;  ///< likewise of passes
    std::vector<std::pair<std::string, double>> learning_rates;  ///< by group
    std::vector<std::pair<std::string, double>> group_grad_norms;
    std::vector<std::pair<std::string, double>> group_weight_norms;   ///< after the update
    std::vector<std::pair<std::string, double>> group_update_ratios;  ///< ‖change‖ / ‖weights after it‖
    std::vector<std::pair<std::string, double>> phase_seconds;        ///< per update: forward, backward, reduce, …
};

nlohmann::json to_json(const StepRecord& record);

/// `step 20/540 | epoch 0.11 | loss 0.6931 | … `, phases in milliseconds an update; of many groups the extreme rates.
std::string log_line(const StepRecord& record);

/// "1:02:03" or "02:03".
std::string clock_text(double seconds);

class Progress {
  public:
    enum class Mode { bar, lines, off };

    /// "auto" is a bar when standard error is a terminal. Only rank 0 speaks.
    static Mode mode_of(const std::string& name, int rank);

    Progress(Mode mode, std::string what, std::int64_t total);
    ~Progress();
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

    /// Redraws the bar, at most ten times a second. `start` counts work that an earlier run did.
    void advance(std::int64_t done, const std::string& note);
    /// Prints a line above the bar.
    void line(const std::string& text);
    /// Prints "strata: …" to standard error, whatever the mode: for rank 0 alone.
    void warn(const std::string& text);

  private:
    void draw();
    void wipe();

    using Clock = std::chrono::steady_clock;
    Mode mode_;
    std::string what_;
    std::int64_t total_;
    std::int64_t first_ = -1;
    std::int64_t done_ = 0;
    std::string note_;
    Clock::time_point began_ = Clock::now();
    Clock::time_point drawn_{};
    bool visible_ = false;
};

}  // namespace strata::app
