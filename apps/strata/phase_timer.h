// Wall-clock seconds: since a moment, or of a scope, added to a named sum.
#pragma once

#include <chrono>

namespace strata::app {

inline double seconds_since(std::chrono::steady_clock::time_point began) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
}

class PhaseTimer {
  public:
    explicit PhaseTimer(double& seconds) : seconds_(seconds) {}
    ~PhaseTimer() { seconds_ += seconds_since(began_); }
    PhaseTimer(const PhaseTimer&) = delete;
    PhaseTimer& operator=(const PhaseTimer&) = delete;

  private:
    double& seconds_;
    std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
};

}  // namespace strata::app
