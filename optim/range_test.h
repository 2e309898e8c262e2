// A learning-rate range test (L. N. Smith, "Cyclical learning rates for training neural networks", 2017, arXiv
// 1506.01186) as fastai makes it (fastai/callback/schedule.py, LRFinder, and learner.py, AvgSmoothLoss): the rate grows
// by the same factor from each update to the next, the losses are smoothed, and the test ends early where the smoothed
// loss exceeds four times the least there was.
//
//   rate(i)     start_lr (end_lr / start_lr)^(i / num_it), i from 0: end_lr itself is not reached
//   smoothed_i  v_i / (1 - 0.98^(i + 1)), v_i = 0.98 v_(i-1) + 0.02 loss_i
//
// The test is a plan of one stage, made from a stage of the plan that is to be trained, so that what makes a training
// step makes the test's. What it does not say of Plan is the real one's.
#pragma once

#include "optim/plan.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace strata::optim {

struct RangeTestConfig {
    double start_lr = 1e-7;
    double end_lr = 10.0;
    std::int64_t num_it = 100;  // updates
    bool stop_div = true;       // end early where the loss diverges
};

/// Below this too few losses are left between the ends that a suggestion does without.
inline constexpr std::int64_t fewest_range_updates = 10;

/// Throws UserError for figures that make no sense.
void check_range_test(const RangeTestConfig& config);

/// The plan's stage of that name, its first for an empty one. Throws UserError, with the nearest, where there is none.
const Stage& tested_stage(const Plan& plan, const std::string& name);

/// What a range test of `plan` trains: a stage, its first unless `stage` names one, and in it all groups that train
/// there, each at the rate times its multiplier; or `group` alone, at the rate itself, with all others frozen.
///
/// In the stage of a slice the rate is the slice's high end, and the other groups' rates move with it. Throws UserError
/// for a stage or group that is not there, with the nearest name, and for a group that the stage keeps frozen.
Plan range_test_plan(const Plan& plan, const RangeTestConfig& config, const std::string& stage,
                     const std::string& group);

enum class RangeTestEnd {
    end_lr,       // all updates were made
    diverged,     // the smoothed loss exceeded four times its least
    not_a_number  // a loss or gradient was no number: what came before counts
};

/// What a test has found so far.
class RangeCurve {
  public:
    explicit RangeCurve(const RangeTestConfig& config) : config_(config) {}

    /// The rate of the next update.
    double next_rate() const;

    /// The loss of the update at next_rate(); `finite` is false where a gradient was not. True while the test goes on.
    bool add(double loss, bool finite = true);

    /// One for each update whose loss is finite.
    const std::vector<double>& rates() const { return rates_; }
    const std::vector<double>& losses() const { return losses_; }
    const std::vector<double>& smoothed() const { return smoothed_; }

    RangeTestEnd end() const { return end_; }

    /// The smoothed losses that suggestions are made from, [first, last): fastai leaves out the first tenth of num_it
    /// and the last five, where the loss has begun to diverge.
    std::size_t first_judged() const;
    std::size_t last_judged() const;

  private:
    RangeTestConfig config_;
    std::vector<double> rates_, losses_, smoothed_;
    std::int64_t updates_ = 0;
    double average_ = 0.0;
    double least_ = 0.0;
    RangeTestEnd end_ = RangeTestEnd::end_lr;
};

/// A rate to train at, and the point of the curve that it is taken from.
struct RateSuggestion {
    double rate = 0.0;
    double rate_there = 0.0;
    double loss_there = 0.0;  // smoothed
};

/// fastai's suggestions (fastai/callback/schedule.py: valley, steep, minimum).
struct RangeSuggestions {
    RateSuggestion valley;   // half way into the longest falling subsequence of losses
    RateSuggestion steep;    // where the loss falls most from one update to the next
    RateSuggestion minimum;  // a tenth of the rate with the least loss
};

/// Nothing where the test ended before it had three losses to judge.
std::optional<RangeSuggestions> range_suggestions(const RangeCurve& curve);

/// One test: of all groups of a stage together (`group` empty), or of one.
struct RangeTest {
    std::string group;
    RangeCurve curve;
    std::optional<RangeSuggestions> suggestions;
};

}  // namespace strata::optim
