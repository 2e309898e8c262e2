// launch/kubernetes.yaml, with what Kubeflow's MPI operator gives its containers: hostfile and environment.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/distributed/job.h"
#include "tests/faults/long_run.h"
#include "tests/support/command.h"

namespace strata::testing_support {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

/// What stands in the file's only list under a line of its own that says `key`.
std::vector<std::string> listed(const std::string& key) {
    std::ifstream file(std::string(STRATA_LAUNCH) + "/kubernetes.yaml");
    std::vector<std::string> entries;
    bool inside = false;
    for (std::string line; std::getline(file, line);) {
        line.erase(0, line.find_first_not_of(' '));
        if (inside && !line.starts_with("- ")) break;
        if (inside) entries.push_back(line.substr(2, line.find(" #") - 2));
        inside = inside || line == key;
    }
    return entries;
}

std::string quoted(const std::vector<std::string>& words) {
    std::string line;
    for (const std::string& word : words) line += " '" + word + "'";
    return line;
}

/// The launcher's command; the volume /data is a folder here.
std::string launcher(const fs::path& folder, const std::string& options = "") {
    std::string arguments = quoted(listed("args:"));
    for (auto at = arguments.find("/data/"); at != std::string::npos; at = arguments.find("/data/", at + 1))
        arguments.replace(at, 5, folder);
    return "env -u OMP_NUM_THREADS -u SLURM_JOB_ID OMPI_MCA_orte_keep_fqdn_hostnames=true "
           "OMPI_MCA_orte_set_default_slots=8 OMPI_MCA_plm_rsh_args='-o ConnectionAttempts=10' "
           "OMPI_MCA_orte_default_hostfile=" +
           (folder / "hostfile").string() + " PATH=" + fs::path(STRATA_PROGRAM).parent_path().string() + ":$PATH " +
           STRATA_LAUNCH + "/mpirun " + options + arguments;
}

TEST(Kubernetes, TheOperatorsHostfileSaysHowManyRanks) {
    const ScratchFolder scratch;
    scratch.write("hostfile",
                  "strata-worker-0.strata.default.svc slots=8\nstrata-worker-1.strata.default.svc slots=8\n");
    const Outcome outcome = run_command(launcher(scratch.path(), "--dry_run"));
    EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
    EXPECT_THAT(outcome.output,
                AllOf(HasSubstr("mpirun -np 16 "), HasSubstr("--bind-to none"), Not(HasSubstr("oversubscribe")),
                      HasSubstr("strata train --config=" + (scratch / "run.toml").string())));
}

/// In a process namespace, as in a container: the hook asks every `strata` that it sees.
TEST(Kubernetes, APodThatIsTakenAwayGoesOnceItsRanksHaveSaved) {
    const std::string container = "timeout 100 unshare --fork --pid --mount-proc --kill-child ";
    const Outcome check = run_command(container + "sh -c 'pidof sh; exit $?'");
    if (check.exit_code != 0) GTEST_SKIP() << "no process namespaces here: " << check.output;
    const ScratchFolder scratch;
    scratch.write("hostfile", "localhost slots=2\n");
    scratch.write("run.toml", "model_name_or_path = '" + parity("tiny_bert") + "'\ntrain_file = '" +
                                  parity("train.tsv") +
                                  "'\nmax_steps = 100000\nlogging_steps = 1\nsave_strategy = 'no'\n");
    const fs::path run = scratch / "runs/mine";
    const std::string pod = scratch.write(
        "pod", launcher(scratch.path()) + " &\nwhile ! [ -e " + (run / "metrics.jsonl").string() +
                   " ] && kill -0 $!; do sleep 0.1; done\n" + quoted(listed("command:")) +
                   "\npidof strata && echo some ranks are left\nwait $!\necho the launcher ends with $?\n");
    const Outcome outcome = run_command(container + "bash " + pod);
    EXPECT_THAT(outcome.output, AllOf(HasSubstr("the launcher ends with 75"), Not(HasSubstr("some ranks are left"))));
    EXPECT_EQ(newest_checkpoint(run), newest_update(run)) << outcome.output;
    EXPECT_GT(newest_checkpoint(run), 0);
}

}  // namespace
}  // namespace strata::testing_support
