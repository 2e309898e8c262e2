#include "dist/activity.h"

#include <utility>

namespace strata::dist {

std::string Activity::Snapshot::text() const {
    std::string text = task.empty() ? "the start" : task;
    if (*waiting_for != '\0') return text + ", in " + waiting_for;
    if (*part != '\0') text = text + ", " + part;
    return text;
}

void Activity::enter(std::string task) {
    const std::lock_guard lock(mutex_);
    now_.task = std::move(task);
    now_.part = "";
}

void Activity::enter_part(const char* part) {
    const std::lock_guard lock(mutex_);
    now_.part = part;
}

Activity::Snapshot Activity::look() const {
    const std::lock_guard lock(mutex_);
    return now_;
}

Activity::Waiting::Waiting(Activity& activity, const char* operation) : activity_(activity) {
    const std::lock_guard lock(activity.mutex_);
    if (activity.depth_++ > 0) return;
    ++activity.now_.waits;
    activity.now_.waiting_for = operation;
    activity.now_.waiting_since = Clock::now();
}

Activity::Waiting::~Waiting() {
    const std::lock_guard lock(activity_.mutex_);
    if (--activity_.depth_ == 0) activity_.now_.waiting_for = "";
}

}  // namespace strata::dist
