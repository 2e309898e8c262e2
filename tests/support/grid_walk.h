// The grids of optim/kernel_team.h walked on the host: what a launch does, piece after piece, phase after phase, thread
// after thread. In which order threads run is the test's choice: what is right in both has no barrier missing where
// its threads meet.
#pragma once

#include "optim/kernel_team.h"

#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

namespace strata::testing_support {

enum class ThreadOrder { ascending, descending };

class HostTeam {
  public:
    template <typename Value>
    class Own {
      public:
        explicit Own(const HostTeam& team) : values_(static_cast<std::size_t>(team.threads())) {}
        Value& operator[](int thread) { return values_[static_cast<std::size_t>(thread)]; }

      private:
        std::vector<Value> values_;
    };

    explicit HostTeam(int threads, ThreadOrder order = ThreadOrder::ascending) : threads_(threads), order_(order) {}
    int threads() const { return threads_; }

    template <typename Phase>
    void each(const Phase& phase) const {
        for (int i = 0; i < threads_; ++i) phase(order_ == ThreadOrder::ascending ? i : threads_ - 1 - i);
    }

  private:
    int threads_;
    ThreadOrder order_;
};

template <typename Body>
void walk_grid(const Body& body, ThreadOrder order) {
    using Shared = typename Body::Shared;
    static_assert(std::is_trivially_copyable_v<Body> && std::is_trivially_copyable_v<Shared>);
    const HostTeam team(Body::team_threads, order);
    for (std::int64_t piece = 0; piece < body.pieces(); ++piece) {
        Shared shared;
        std::memset(static_cast<void*>(&shared), 0xFF, sizeof(shared));  // not-a-number, as a GPU may have it
        body.run(team, piece, shared);
    }
}

}  // namespace strata::testing_support
