// What a rank is doing, for the other ranks to tell when they hear of it no more (job_watch.h).
//
// The thread that trains writes it, another one reads it. A task is a stretch of work ("update 17"), a part lies within
// it ("backward"); a wait begins where the rank can go on only with the others. All ranks make the same waits in the
// same order, so their numbers tell who is behind.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>

namespace strata::dist {

class Activity {
  public:
    using Clock = std::chrono::steady_clock;

    struct Snapshot {
        std::string task;
        const char* part = "";
        const char* waiting_for = "";  ///< empty when the rank works
        std::int64_t waits = 0;        ///< begun so far
        Clock::time_point waiting_since;

        /// "update 17, backward", "update 17, in all-reduce".
        std::string text() const;
    };

    /// Begins a task, and ends its part.
    void enter(std::string task);
    /// Begins a part of the task; a literal, because the step path pays for it.
    void enter_part(const char* part);
    Snapshot look() const;

    /// Waits for the other ranks while it lives. Within another one it counts for nothing.
    class Waiting {
      public:
        Waiting(Activity& activity, const char* operation);
        ~Waiting();
        Waiting(const Waiting&) = delete;
        Waiting& operator=(const Waiting&) = delete;

      private:
        Activity& activity_;
    };

  private:
    mutable std::mutex mutex_;
    Snapshot now_;
    int depth_ = 0;
};

}  // namespace strata::dist
