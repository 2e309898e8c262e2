#include "dist/nccl_link.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "core/error.h"

namespace strata::dist {
namespace {

using namespace std::chrono_literals;

constexpr auto farewell_limit = 10s;

double seconds_of(std::chrono::milliseconds time) {
    return std::chrono::duration<double>(time).count();
}

bool is_trouble(ncclResult_t result) {
    return result != ncclSuccess && result != ncclInProgress;
}

}  // namespace

NcclLink::NcclLink(std::shared_ptr<const NcclLibrary> nccl, const ncclUniqueId& id, NcclPlace place,
                   std::shared_ptr<Activity> activity, NcclLimits limits)
    : nccl_(std::move(nccl)),
      place_(std::move(place)),
      activity_(std::move(activity)),
      limits_(limits),
      exceptions_(std::uncaught_exceptions()) {
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    const Activity::Waiting waiting(*activity_, "start of NCCL");
    settle("start of NCCL", nccl_->comm_init_rank_config(&comm_, place_.size, id, place_.rank, &config));
    thread_ = std::thread([this] { run(); });
}

NcclLink::~NcclLink() {
    {
        const std::lock_guard lock(mutex_);
        over_ = true;
    }
    wake_.notify_all();
    if (thread_.joinable()) thread_.join();
    if (comm_ == nullptr) return;
    // Ending in good order is collective: while an exception passes, the other ranks may never come to it.
    if (std::uncaught_exceptions() > exceptions_) {
        nccl_->comm_abort(comm_);
        return;
    }
    ncclResult_t result = nccl_->comm_finalize(comm_);
    const auto limit = Clock::now() + farewell_limit;
    while (result == ncclInProgress && Clock::now() < limit) {
        std::this_thread::sleep_for(1ms);
        nccl_->comm_get_async_error(comm_, &result);
    }
    if (result == ncclSuccess) {
        nccl_->comm_destroy(comm_);
    } else {
        nccl_->comm_abort(comm_);
    }
}

void NcclLink::check() const {
    const std::lock_guard lock(mutex_);
    if (!failure_.empty()) throw SystemError(failure_);
}

std::string NcclLink::words_of(ncclResult_t result) const {
    std::string words = nccl_->get_error_string(result);
    const char* last = comm_ == nullptr ? nullptr : nccl_->get_last_error(comm_);
    if (last != nullptr && *last != '\0') words += fmt::format(" ({})", last);
    return words;
}

/// With the lock held. The first failure is the one that counts.
void NcclLink::fail(const char* name, const std::string& trouble) {
    if (!failure_.empty()) return;
    failure_ = fmt::format("rank {} on {}, in {}: NCCL's {} failed: {}", place_.rank, place_.host,
                           activity_->look().text(), name, trouble);
    if (comm_ != nullptr) nccl_->comm_abort(std::exchange(comm_, nullptr));
}

/// NCCL's state; an error where the communicator has been aborted meanwhile.
ncclResult_t NcclLink::state() {
    const std::lock_guard lock(mutex_);
    if (comm_ == nullptr) return ncclInternalError;
    ncclResult_t result = ncclSuccess;
    const ncclResult_t asked = nccl_->comm_get_async_error(comm_, &result);
    return asked == ncclSuccess ? result : asked;
}

/// Waits until NCCL has done what it was called for: connecting, and putting kernels into streams. That is quick but
/// for the first operations.
void NcclLink::settle(const char* name, ncclResult_t result) {
    const auto began = Clock::now();
    for (auto pause = 20us; result == ncclInProgress; pause = std::min<std::chrono::microseconds>(2 * pause, 2ms)) {
        if (Clock::now() - began > limits_.wait) {
            const std::lock_guard lock(mutex_);
            fail(name, fmt::format("the other ranks did not come within {} s", seconds_of(limits_.wait)));
        }
        check();
        std::this_thread::sleep_for(pause);
        result = state();
    }
    check();
    if (result == ncclSuccess) return;
    {
        const std::lock_guard lock(mutex_);
        fail(name, words_of(result));
    }
    check();
}

void NcclLink::group(const char* name, const Calls& calls) {
    check();
    const Activity::Waiting waiting(*activity_, name);
    ncclResult_t result = ncclSuccess;
    {
        const std::lock_guard lock(mutex_);
        if (comm_ == nullptr) throw SystemError(failure_);
        result = nccl_->group_start();
        if (result == ncclSuccess) {
            // A call only notes what is to be done; the group must be ended whatever it says.
            const ncclResult_t noted = calls(*nccl_, comm_);
            result = nccl_->group_end();
            if (is_trouble(noted)) result = noted;
        }
    }
    settle(name, result);
}

std::shared_ptr<optim::CudaEvent> NcclLink::watch(const char* name, CUstream_st* stream) {
    auto end = std::make_shared<optim::CudaEvent>();
    end->record(stream);
    if (optim::is_captured(stream)) return end;
    const std::lock_guard lock(mutex_);
    watched_.push_back({end, name, Clock::now()});
    return end;
}

/// With the lock held.
void NcclLink::look() {
    if (comm_ == nullptr) return;
    ncclResult_t result = ncclSuccess;
    const ncclResult_t asked = nccl_->comm_get_async_error(comm_, &result);
    if (asked != ncclSuccess) result = asked;
    while (!watched_.empty() && watched_.front().end->passed()) watched_.pop_front();
    const char* const name = watched_.empty() ? "communicator" : watched_.front().name;
    if (is_trouble(result)) return fail(name, words_of(result));
    if (!watched_.empty() && Clock::now() - watched_.front().since > limits_.wait) {
        fail(name, fmt::format("not done after {} s", seconds_of(limits_.wait)));
    }
}

void NcclLink::run() {
    std::unique_lock lock(mutex_);
    try {
        optim::use_device(place_.device);
        while (!wake_.wait_for(lock, limits_.look, [this] { return over_; })) look();
    } catch (const std::exception& error) {
        fail("watch", error.what());
    }
}

}  // namespace strata::dist
