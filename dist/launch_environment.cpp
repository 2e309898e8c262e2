#include "dist/launch_environment.h"

#include <unistd.h>

#include <charconv>
#include <cstdlib>

#include "core/error.h"

extern char** environ;

namespace strata::dist {
namespace {

std::optional<int> number(const EnvironmentMap& environment, const std::string& name) {
    const auto found = environment.find(name);
    if (found == environment.end()) return std::nullopt;
    const std::string& text = found->second;
    int value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value < 0) {
        user_error("the launcher's environment variable {} is '{}', expected a number of at least 0", name, text);
    }
    return value;
}

int required(const EnvironmentMap& environment, const std::string& name, const std::string& because) {
    const auto value = number(environment, name);
    if (!value) user_error("the launcher set {} but not {}; start strata through mpirun or srun", because, name);
    return *value;
}

bool has(const EnvironmentMap& environment, const std::string& name) {
    return environment.count(name) > 0;
}

/// "4" or "4(x2)" or "4,3": tasks on the first node, if all nodes have as many; else nothing.
std::optional<int> tasks_per_node(const EnvironmentMap& environment, const std::string& name) {
    const auto found = environment.find(name);
    if (found == environment.end() || found->second.find(',') != std::string::npos) return std::nullopt;
    int value = 0;
    const std::string& text = found->second;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || value < 1) return std::nullopt;
    return value;
}

LaunchEnvironment from_variables(const EnvironmentMap& environment, Launcher launcher, const std::string& rank,
                                 const std::string& size, const std::string& local_rank,
                                 const std::string& local_size) {
    LaunchEnvironment launch;
    launch.launcher = launcher;
    launch.rank = required(environment, rank, rank);
    launch.size = required(environment, size, rank);
    launch.local_rank = number(environment, local_rank);
    launch.local_size = number(environment, local_size);
    return launch;
}

LaunchEnvironment from_slurm(const EnvironmentMap& environment) {
    const std::string size = has(environment, "SLURM_STEP_NUM_TASKS") ? "SLURM_STEP_NUM_TASKS" : "SLURM_NTASKS";
    LaunchEnvironment launch = from_variables(environment, Launcher::slurm, "SLURM_PROCID", size, "SLURM_LOCALID", "");
    launch.local_size = tasks_per_node(environment, "SLURM_STEP_TASKS_PER_NODE");
    return launch;
}

LaunchEnvironment detect(const EnvironmentMap& environment) {
    if (has(environment, "OMPI_COMM_WORLD_RANK")) {
        return from_variables(environment, Launcher::open_mpi, "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE",
                              "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE");
    }
    if (has(environment, "PMI_RANK")) {
        return from_variables(environment, Launcher::pmi, "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS");
    }
    const auto from_torchrun = [&] {
        return from_variables(environment, Launcher::torchrun, "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE");
    };
    // RANK and WORLD_SIZE alone may come from a batch script's own hand; this only torchrun sets.
    if (has(environment, "TORCHELASTIC_RUN_ID")) return from_torchrun();
    const bool in_step = has(environment, "SLURM_STEP_ID") || !has(environment, "SLURM_JOB_ID");
    if (has(environment, "SLURM_PROCID") && in_step) return from_slurm(environment);
    if (has(environment, "RANK") && has(environment, "WORLD_SIZE")) return from_torchrun();
    return {};
}

void check_ranges(const LaunchEnvironment& launch) {
    const std::string name = launcher_name(launch.launcher);
    if (launch.size < 1 || launch.rank >= launch.size) {
        user_error("{} says that this is rank {} of {}", name, launch.rank, launch.size);
    }
    if (launch.local_rank && launch.local_size && *launch.local_rank >= *launch.local_size) {
        user_error("{} says that this is local rank {} of {}", name, *launch.local_rank, *launch.local_size);
    }
}

std::string remedy(const LaunchEnvironment& launch) {
    if (launch.launcher == Launcher::slurm || launch.launcher == Launcher::pmi) {
        return fmt::format("Start it with srun --mpi=pmix, or with mpirun -np {} inside the allocation", launch.size);
    }
    return fmt::format("Start it with mpirun -np {}, with the mpirun of the MPI library that strata was built with",
                       launch.size);
}

}  // namespace

EnvironmentMap process_environment() {
    EnvironmentMap environment;
    for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
        const std::string text = *entry;
        const auto equals = text.find('=');
        if (equals != std::string::npos) environment[text.substr(0, equals)] = text.substr(equals + 1);
    }
    return environment;
}

std::string launcher_name(Launcher launcher) {
    switch (launcher) {
        case Launcher::none:
            return "no launcher";
        case Launcher::open_mpi:
            return "Open MPI";
        case Launcher::pmi:
            return "PMI";
        case Launcher::slurm:
            return "Slurm";
        case Launcher::torchrun:
            return "torchrun";
    }
    STRATA_CHECK(false, "unknown launcher");
}

LaunchEnvironment read_launch_environment(const EnvironmentMap& environment, const std::string& host) {
    LaunchEnvironment launch = detect(environment);
    launch.host = host;
    check_ranges(launch);
    return launch;
}

LaunchEnvironment verify_launch(const LaunchEnvironment& launch, const MpiPlace& mpi) {
    if (launch.launcher != Launcher::none && (launch.rank != mpi.rank || launch.size != mpi.size)) {
        user_error("{} started this process as rank {} of {}, but MPI says rank {} of {}{}. {}",
                   launcher_name(launch.launcher), launch.rank, launch.size, mpi.rank, mpi.size,
                   mpi.size == 1 ? ": each process would train alone" : "", remedy(launch));
    }
    LaunchEnvironment verified = launch;
    verified.rank = mpi.rank;
    verified.size = mpi.size;
    verified.local_rank = launch.local_rank.value_or(mpi.local_rank);
    verified.local_size = launch.local_size.value_or(mpi.local_size);
    return verified;
}

std::optional<int> choose_device(int local_rank, int local_size, int visible_devices, const std::string& host) {
    if (visible_devices == 0) return std::nullopt;
    // One visible device a task (--gpus-per-task=1): every task's own is number 0.
    if (visible_devices == 1) return 0;
    if (local_size > visible_devices) {
        user_error("{} runs {} ranks but has {} GPUs; start at most one rank a GPU (mpirun --map-by ppr:{}:node)", host,
                   local_size, visible_devices, visible_devices);
    }
    return local_rank;
}

}  // namespace strata::dist
