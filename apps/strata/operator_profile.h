// Where the time of training steps goes, operator by operator, on the thread that makes them.
//
// A row is an operator of ATen, a node of autograd or a kernel of ours (RECORD_USER_SCOPE), by the wall-clock time
// spent in itself, less what it calls; its part is the outermost scope that it ran in (train_step.cpp: forward,
// backward, …). What tensors take is counted too.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace strata::app {

struct OperatorTime {
    std::string part;  ///< "forward", "backward", …; empty between them
    std::string name;
    double seconds = 0;  ///< median over the steps
    std::int64_t calls = 0;
};

class OperatorProfile {
  public:
    /// Observes this thread while it lives.
    OperatorProfile();
    ~OperatorProfile();
    OperatorProfile(const OperatorProfile&) = delete;
    OperatorProfile& operator=(const OperatorProfile&) = delete;

    void begin_step();
    void end_step();

    /// The most expensive first.
    std::vector<OperatorTime> operators() const;

    /// The most that tensors made since a step began took at any moment, over all steps.
    std::int64_t peak_tensor_bytes() const;

  private:
    class Record;
    struct Observation;
    std::shared_ptr<Record> record_;
    std::unique_ptr<Observation> observation_;
};

}  // namespace strata::app
