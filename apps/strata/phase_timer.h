// Adds the wall-clock seconds of a scope to a named sum.
#pragma once

#include <chrono>

namespace strata::app {

class PhaseTimer {
  public:
    explicit PhaseTimer(double& seconds) : seconds_(seconds) {}
    ~PhaseTimer() { seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - began_).count(); }
    PhaseTimer(const PhaseTimer&) = delete;
    PhaseTimer& operator=(const PhaseTimer&) = delete;

  private:
    double& seconds_;
    std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
};

}  // namespace strata::app
