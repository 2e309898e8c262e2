// Runs the program as a user would, under mpirun where asked, and reads what it leaves behind.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/scratch_folder.h"

namespace strata::testing_support {

struct JobResult {
    int exit_code = -1;
    std::string output;  ///< standard output and error together
};

/// Runs `strata ARGUMENTS…` on `ranks` ranks, one thread each; 0 ranks means without mpirun. `program` stands in for
/// it.
JobResult run_strata(int ranks, const std::vector<std::string>& arguments, const std::string& program = STRATA_PROGRAM);

/// Runs it in the background; the process group is ended, if it still runs, when the object goes.
class BackgroundJob {
  public:
    BackgroundJob(int ranks, const std::vector<std::string>& arguments, std::filesystem::path log,
                  const std::string& program = STRATA_PROGRAM);
    /// Any command.
    BackgroundJob(const std::vector<std::string>& words, const std::filesystem::path& log);
    ~BackgroundJob();
    BackgroundJob(const BackgroundJob&) = delete;
    BackgroundJob& operator=(const BackgroundJob&) = delete;

    void send(int signal) const;
    /// mpirun's process, whose children are the ranks; without mpirun the program's.
    int process() const { return process_; }
    /// Waits at most so long; the exit code, or -1 if it still runs.
    int wait(double seconds);

  private:
    int process_ = -1;
    int exit_code_ = -1;
};

/// Sends `signal` to the rank that trains into `output_dir`. False, and nothing is sent, where it is not there:
/// kill(-1) would reach every process of the user.
[[nodiscard]] bool signal_rank(const std::filesystem::path& output_dir, int rank, int signal);
/// True once no process trains into `output_dir` any more; waits at most so long.
bool all_gone(const std::filesystem::path& output_dir, int ranks, double seconds);

/// The objects of a .jsonl file.
std::vector<nlohmann::json> read_lines(const std::filesystem::path& path);
nlohmann::json read_json(const std::filesystem::path& path);

/// A file of tests/fixtures/parity.
std::string parity(const std::string& name);

/// Flags of a run over the parity fixture, equal to its reference: 20 updates of 12 samples on `ranks` ranks. The
/// reference is of fp32, whatever this processor would choose.
std::vector<std::string> parity_run(int ranks, const std::filesystem::path& output_dir);
/// The same in the precision that a user gets who says nothing.
std::vector<std::string> run_by_default(int ranks, const std::filesystem::path& output_dir);

/// A file for --config: the head alone for 6 updates, the top layer with it for 7, then everything.
inline constexpr const char* three_stages = R"(
[[stage]]
length = "6u"
freeze_to = -1
learning_rate = 2e-3
[[stage]]
length = "7u"
freeze_to = -2
[[stage]]
slice = [1e-4, 1e-3]
)";

/// `base` with more flags; a later flag wins over an earlier one.
std::vector<std::string> with(std::vector<std::string> base, const std::vector<std::string>& more);

}  // namespace strata::testing_support
