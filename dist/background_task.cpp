#include "dist/background_task.h"

#include <csignal>
#include <utility>

#include "core/error.h"

namespace strata::dist {
namespace {

/// Signals are for the thread that trains: they would cut short this one's waits.
class SignalsElsewhere {
  public:
    SignalsElsewhere() {
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_BLOCK, &all, &before_);
    }
    ~SignalsElsewhere() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
    SignalsElsewhere(const SignalsElsewhere&) = delete;
    SignalsElsewhere& operator=(const SignalsElsewhere&) = delete;

  private:
    sigset_t before_{};
};

}  // namespace

BackgroundTask::BackgroundTask(const MpiCommunicator& parent)
    : communicator_(parent.handle(), INT_MAX, Waiting::asleep) {}

BackgroundTask::~BackgroundTask() {
    if (thread_.joinable()) thread_.join();
}

void BackgroundTask::start(Job job) {
    STRATA_CHECK(!thread_.joinable(), "the job before is not finished");
    done_ = false;
    error_ = nullptr;
    const SignalsElsewhere inherited;
    thread_ = std::thread([this, job = std::move(job)] {
        try {
            job(communicator_);
        } catch (...) {
            error_ = std::current_exception();
        }
        done_ = true;
    });
}

void BackgroundTask::finish() {
    if (!thread_.joinable()) return;
    thread_.join();
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

}  // namespace strata::dist
