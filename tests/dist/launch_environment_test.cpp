#include "dist/launch_environment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "core/error.h"

namespace strata::dist {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::string user_error_of(const std::function<void()>& action) {
    try {
        action();
    } catch (const UserError& error) {
        return error.what();
    }
    return "no UserError";
}

LaunchEnvironment launch(const EnvironmentMap& environment) {
    return read_launch_environment(environment, "node1");
}

const EnvironmentMap open_mpi{{"OMPI_COMM_WORLD_RANK", "3"},
                              {"OMPI_COMM_WORLD_SIZE", "8"},
                              {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                              {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}};
const EnvironmentMap srun{{"SLURM_JOB_ID", "77"},
                          {"SLURM_STEP_ID", "0"},
                          {"SLURM_PROCID", "2"},
                          {"SLURM_STEP_NUM_TASKS", "4"},
                          {"SLURM_NTASKS", "9"},
                          {"SLURM_LOCALID", "0"},
                          {"SLURM_STEP_TASKS_PER_NODE", "2(x2)"}};

TEST(LaunchEnvironment, NoLauncherIsOneProcess) {
    const auto found = launch({{"HOME", "/root"}});
    EXPECT_EQ(found.launcher, Launcher::none);
    EXPECT_EQ(found.rank, 0);
    EXPECT_EQ(found.size, 1);
    EXPECT_EQ(found.host, "node1");
}

TEST(LaunchEnvironment, OpenMpi) {
    const auto found = launch(open_mpi);
    EXPECT_EQ(found.launcher, Launcher::open_mpi);
    EXPECT_EQ(found.rank, 3);
    EXPECT_EQ(found.size, 8);
    EXPECT_EQ(found.local_rank, 1);
    EXPECT_EQ(found.local_size, 2);
}

TEST(LaunchEnvironment, Slurm) {
    const auto found = launch(srun);
    EXPECT_EQ(found.launcher, Launcher::slurm);
    EXPECT_EQ(found.rank, 2);
    EXPECT_EQ(found.size, 4) << "the step's tasks, not the job's";
    EXPECT_EQ(found.local_rank, 0);
    EXPECT_EQ(found.local_size, 2);
}

TEST(LaunchEnvironment, SlurmNodesWithDifferentTasksLeaveTheLocalSizeToMpi) {
    EnvironmentMap environment = srun;
    environment["SLURM_STEP_TASKS_PER_NODE"] = "3,1";
    EXPECT_EQ(launch(environment).local_size, std::nullopt);
}

TEST(LaunchEnvironment, SlurmWithoutAStepsSizeTakesTheJobs) {
    EnvironmentMap environment = srun;
    environment.erase("SLURM_STEP_NUM_TASKS");
    EXPECT_EQ(launch(environment).size, 9);
}

TEST(LaunchEnvironment, TorchrunInsideASlurmStepIsTheInnermost) {
    EnvironmentMap environment{{"SLURM_JOB_ID", "77"},        {"SLURM_STEP_ID", "0"}, {"SLURM_PROCID", "0"},
                               {"SLURM_STEP_NUM_TASKS", "1"}, {"RANK", "3"},          {"WORLD_SIZE", "8"}};
    EXPECT_EQ(launch(environment).launcher, Launcher::slurm) << "a script may export these two itself";
    environment["TORCHELASTIC_RUN_ID"] = "none";
    const auto found = launch(environment);
    EXPECT_EQ(found.launcher, Launcher::torchrun);
    EXPECT_EQ(found.rank, 3);
    EXPECT_EQ(found.size, 8);
    EXPECT_THAT(user_error_of([&] {
                    verify_launch(found, {0, 1, 0, 1});
                }),
                HasSubstr("each process would train alone"));
}

TEST(LaunchEnvironment, SlurmBatchScriptIsOneProcess) {
    EnvironmentMap environment = srun;
    environment.erase("SLURM_STEP_ID");
    EXPECT_EQ(launch(environment).launcher, Launcher::none);
}

TEST(LaunchEnvironment, PmiOfMpich) {
    const auto found =
        launch({{"PMI_RANK", "5"}, {"PMI_SIZE", "6"}, {"MPI_LOCALRANKID", "2"}, {"MPI_LOCALNRANKS", "3"}});
    EXPECT_EQ(found.launcher, Launcher::pmi);
    EXPECT_EQ(found.rank, 5);
    EXPECT_EQ(found.size, 6);
    EXPECT_EQ(found.local_rank, 2);
    EXPECT_EQ(found.local_size, 3);
}

TEST(LaunchEnvironment, TorchrunNeedsRankAndWorldSize) {
    const auto found = launch({{"RANK", "1"}, {"WORLD_SIZE", "2"}, {"LOCAL_RANK", "1"}, {"LOCAL_WORLD_SIZE", "2"}});
    EXPECT_EQ(found.launcher, Launcher::torchrun);
    EXPECT_EQ(found.rank, 1);
    EXPECT_EQ(found.local_size, 2);
    EXPECT_EQ(launch({{"RANK", "1"}}).launcher, Launcher::none) << "a common word, not a launcher";
}

TEST(LaunchEnvironment, TheInnermostLauncherWins) {
    EnvironmentMap all = open_mpi;
    all.insert(srun.begin(), srun.end());
    all.insert({{"PMI_RANK", "7"}, {"PMI_SIZE", "8"}, {"RANK", "0"}, {"WORLD_SIZE", "2"}});
    EXPECT_EQ(launch(all).launcher, Launcher::open_mpi);
    all.erase("OMPI_COMM_WORLD_RANK");
    EXPECT_EQ(launch(all).launcher, Launcher::pmi);
    all.erase("PMI_RANK");
    EXPECT_EQ(launch(all).launcher, Launcher::slurm);
    all.erase("SLURM_PROCID");
    EXPECT_EQ(launch(all).launcher, Launcher::torchrun);
}

TEST(LaunchEnvironment, BadValuesNameTheVariable) {
    for (const std::string value : {"", "two", "-1", "3x", "99999999999"}) {
        EnvironmentMap environment = open_mpi;
        environment["OMPI_COMM_WORLD_RANK"] = value;
        EXPECT_THAT(user_error_of([&] { launch(environment); }), HasSubstr("OMPI_COMM_WORLD_RANK")) << value;
    }
    EnvironmentMap missing = open_mpi;
    missing.erase("OMPI_COMM_WORLD_SIZE");
    EXPECT_THAT(user_error_of([&] { launch(missing); }), HasSubstr("OMPI_COMM_WORLD_SIZE"));
}

TEST(LaunchEnvironment, EveryVariableOfEveryLauncherIsChecked) {
    const EnvironmentMap pmi{{"PMI_RANK", "0"}, {"PMI_SIZE", "2"}, {"MPI_LOCALRANKID", "0"}, {"MPI_LOCALNRANKS", "2"}};
    const EnvironmentMap torchrun{{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"LOCAL_RANK", "0"}, {"LOCAL_WORLD_SIZE", "2"}};
    const EnvironmentMap step{{"SLURM_PROCID", "0"}, {"SLURM_STEP_NUM_TASKS", "2"}, {"SLURM_LOCALID", "0"}};
    for (const EnvironmentMap& good : {open_mpi, pmi, torchrun, step}) {
        EXPECT_NO_THROW(launch(good));
        for (const auto& [name, value] : good) {
            EnvironmentMap bad = good;
            bad[name] = "many";
            EXPECT_THAT(user_error_of([&] { launch(bad); }), AllOf(HasSubstr(name), HasSubstr("'many'")));
        }
    }
}

TEST(LaunchEnvironment, ARankBeyondTheSizeIsRefused) {
    EnvironmentMap environment = open_mpi;
    environment["OMPI_COMM_WORLD_RANK"] = "8";
    EXPECT_THAT(user_error_of([&] { launch(environment); }), HasSubstr("rank 8 of 8"));
    environment["OMPI_COMM_WORLD_RANK"] = "7";
    environment["OMPI_COMM_WORLD_LOCAL_RANK"] = "2";
    EXPECT_THAT(user_error_of([&] { launch(environment); }), HasSubstr("local rank 2 of 2"));
}

TEST(VerifyLaunch, AgreementKeepsTheLaunchersLocalRank) {
    const auto verified = verify_launch(launch(open_mpi), {3, 8, 5, 6});
    EXPECT_EQ(verified.local_rank, 1);
    EXPECT_EQ(verified.local_size, 2);
}

TEST(VerifyLaunch, MpiFillsInWhatTheLauncherDoesNotSay) {
    const auto verified = verify_launch(launch({{"PMI_RANK", "0"}, {"PMI_SIZE", "2"}}), {0, 2, 1, 2});
    EXPECT_EQ(verified.local_rank, 1);
    EXPECT_EQ(verified.local_size, 2);
    const auto silent = verify_launch(launch({}), {1, 2, 1, 2});
    EXPECT_EQ(silent.rank, 1) << "a launcher that sets no variables";
    EXPECT_EQ(silent.size, 2);
}

TEST(VerifyLaunch, SrunWithoutPmiIsFourSingletonsAndIsRefused) {
    EXPECT_THAT(user_error_of([&] {
                    verify_launch(launch(srun), {0, 1, 0, 1});
                }),
                AllOf(HasSubstr("Slurm"), HasSubstr("rank 2 of 4"), HasSubstr("rank 0 of 1"),
                      HasSubstr("each process would train alone"), HasSubstr("srun --mpi=pmix")));
}

TEST(VerifyLaunch, TorchrunWithoutMpirunIsRefused) {
    const auto found = launch({{"RANK", "0"}, {"WORLD_SIZE", "2"}});
    EXPECT_THAT(user_error_of([&] {
                    verify_launch(found, {0, 1, 0, 1});
                }),
                AllOf(HasSubstr("torchrun"), HasSubstr("mpirun -np 2")));
}

TEST(VerifyLaunch, AnotherRankIsRefused) {
    EXPECT_THAT(user_error_of([&] {
                    verify_launch(launch(open_mpi), {2, 8, 0, 2});
                }),
                AllOf(HasSubstr("rank 3 of 8"), HasSubstr("rank 2 of 8")));
}

TEST(ChooseDevice, TheLocalRankWhereThereAreEnough) {
    EXPECT_EQ(choose_device(3, 4, 4, "node1"), 3);
    EXPECT_EQ(choose_device(1, 2, 8, "node1"), 1);
}

TEST(ChooseDevice, OneVisibleDeviceEachIsNumberZero) {
    EXPECT_EQ(choose_device(3, 4, 1, "node1"), 0);
}

TEST(ChooseDevice, NoDevice) {
    EXPECT_EQ(choose_device(0, 4, 0, "node1"), std::nullopt);
}

TEST(ChooseDevice, MoreRanksThanDevicesIsRefusedOnEveryRank) {
    for (int local_rank = 0; local_rank < 4; ++local_rank) {
        EXPECT_THAT(user_error_of([&] { choose_device(local_rank, 4, 2, "node1"); }),
                    AllOf(HasSubstr("node1"), HasSubstr("4 ranks"), HasSubstr("2 GPUs"), HasSubstr("ppr:2:node")));
    }
}

}  // namespace
}  // namespace strata::dist
