// The commands of the program. Each takes a validated configuration and returns the exit code.
#pragma once

#include <string>

#include "apps/strata/config.h"
#include "dist/mpi_communicator.h"

namespace strata::app {

inline constexpr int exit_done = 0;
inline constexpr int exit_failed = 1;
inline constexpr int exit_wrong_input = 2;
inline constexpr int exit_stopped = 75;  ///< saved and stopped on a signal: start again to go on (BSD's EX_TEMPFAIL)

/// One line from rank 0, at once.
void say(const dist::Communicator& communicator, const std::string& text);

int run_train(const Config& config, dist::MpiCommunicator& communicator);
int run_lr_find(const Config& config, dist::MpiCommunicator& communicator);
int run_bench_step(const Config& config, dist::MpiCommunicator& communicator);
int run_evaluate(const Config& config, dist::MpiCommunicator& communicator);
int run_predict(const Config& config, dist::MpiCommunicator& communicator);

// These need no MPI.
int run_plan(const Config& config);
int run_tokenize(const Config& config);
int run_inspect(const Config& config);
int run_verify(const Config& config);
int run_export(const Config& config);
int run_average(const Config& config);
int run_diff(const Config& config);
int run_report(const Config& config);

}  // namespace strata::app
