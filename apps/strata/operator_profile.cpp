#include "apps/strata/operator_profile.h"

#include <ATen/record_function.h>
#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <utility>

#include "core/error.h"

namespace strata::app {
namespace {

using Clock = std::chrono::steady_clock;

/// Nodes by the class they are of, the engine's own work under one name.
std::string short_name(const std::string& name) {
    if (name.starts_with("autograd::engine::")) return "autograd engine";
    const auto node = name.find("CppNode<");
    if (node == std::string::npos) return name.substr(name.rfind("::") == std::string::npos ? 0 : name.rfind("::") + 2);
    const std::string of = name.substr(node + 8, name.rfind('>') - node - 8);
    return of.substr(of.rfind("::") == std::string::npos ? 0 : of.rfind("::") + 2);
}

}  // namespace

/// Of the thread whose profiler state it is: operators under way, the clock running for the innermost.
class OperatorProfile::Record : public c10::MemoryReportingInfoBase {
  public:
    void enter(const at::RecordFunction& function) {
        charge();
        const std::string part = stack_.empty() ? function.name() : stack_.front().first;
        const std::string name = stack_.empty() ? "" : function.name();
        stack_.emplace_back(part, name);
        ++step_[stack_.back()].calls;
    }

    void leave() {
        charge();
        if (!stack_.empty()) stack_.pop_back();
    }

    void begin() {
        step_.clear();
        stack_.clear();
        bytes_ = 0;
        last_ = Clock::now();
    }

    void end() {
        charge();
        ++steps_;
        for (const auto& [key, time] : step_) {
            auto& all = times_[{key.first, key.second.empty() ? "" : short_name(key.second)}];
            // Several operators may share a short name.
            all.seconds.resize(steps_, 0.0);
            all.seconds.back() += time.seconds;
            all.calls = std::exchange(all.step, steps_) == steps_ ? all.calls + time.calls : time.calls;
        }
    }

    std::vector<OperatorTime> operators() const {
        std::vector<OperatorTime> list;
        for (const auto& [key, time] : times_) {
            std::vector<double> seconds = time.seconds;
            seconds.resize(steps_, 0.0);
            std::nth_element(seconds.begin(), seconds.begin() + static_cast<std::ptrdiff_t>(steps_ / 2), seconds.end());
            list.push_back({key.first, key.second, seconds[steps_ / 2], time.calls});
        }
        std::sort(list.begin(), list.end(), [](const auto& a, const auto& b) { return a.seconds > b.seconds; });
        return list;
    }

    void reportMemoryUsage(void*, std::int64_t bytes, std::size_t, std::size_t, c10::Device) override {
        bytes_ += bytes;
        peak_bytes_ = std::max(peak_bytes_, bytes_);
    }
    bool memoryProfilingEnabled() const override { return true; }
    std::int64_t peak_bytes() const { return peak_bytes_; }

  private:
    using Key = std::pair<std::string, std::string>;
    struct OfStep {
        double seconds = 0;
        std::int64_t calls = 0;
    };
    struct OfAll {
        std::vector<double> seconds;
        std::int64_t calls = 0;
        std::size_t step = 0;
    };

    void charge() {
        const Clock::time_point now = Clock::now();
        step_[stack_.empty() ? Key() : stack_.back()].seconds += std::chrono::duration<double>(now - last_).count();
        last_ = now;
    }

    std::vector<Key> stack_;
    std::map<Key, OfStep> step_;
    std::map<Key, OfAll> times_;
    std::size_t steps_ = 0;
    Clock::time_point last_;
    std::int64_t bytes_ = 0, peak_bytes_ = 0;
};

/// Torch finds the record where its own profiler keeps its state, on every thread that works for this one.
struct OperatorProfile::Observation {
    explicit Observation(const std::shared_ptr<Record>& record)
        : guard(c10::DebugInfoKind::PROFILER_STATE, record),
          callback(at::addThreadLocalCallback(
              at::RecordFunctionCallback(
                  [](const at::RecordFunction& function) -> std::unique_ptr<at::ObserverContext> {
                      current().enter(function);
                      return nullptr;
                  },
                  [](const at::RecordFunction&, at::ObserverContext*) { current().leave(); })
                  .scopes(
                      {at::RecordScope::FUNCTION, at::RecordScope::BACKWARD_FUNCTION, at::RecordScope::USER_SCOPE}))) {}
    ~Observation() { at::removeCallback(callback); }

    static Record& current() {
        auto* record = static_cast<Record*>(c10::ThreadLocalDebugInfo::get(c10::DebugInfoKind::PROFILER_STATE));
        STRATA_CHECK(record != nullptr, "an operator is observed, and nothing records it");
        return *record;
    }

    c10::DebugInfoGuard guard;
    at::CallbackHandle callback;
};

OperatorProfile::OperatorProfile()
    : record_(std::make_shared<Record>()), observation_(std::make_unique<Observation>(record_)) {}

OperatorProfile::~OperatorProfile() = default;

void OperatorProfile::begin_step() {
    record_->begin();
}

void OperatorProfile::end_step() {
    record_->end();
}

std::vector<OperatorTime> OperatorProfile::operators() const {
    return record_->operators();
}

std::int64_t OperatorProfile::peak_tensor_bytes() const {
    return record_->peak_bytes();
}

}  // namespace strata::app
