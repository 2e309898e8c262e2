// Which rank this process is, from what its launcher put into the environment.
//
// The launcher is known before MPI_Init and chooses the device; MPI is known after it and does the talking. Both must
// agree, or N processes would each train alone and overwrite one another's files: verify_launch() compares them.
//
// Order of precedence, the innermost launcher first, because the outer ones leave their variables to it:
//   Open MPI   OMPI_COMM_WORLD_RANK, _SIZE, _LOCAL_RANK, _LOCAL_SIZE        (mpirun, also inside a Slurm job)
//   PMI        PMI_RANK, PMI_SIZE, MPI_LOCALRANKID, MPI_LOCALNRANKS         (MPICH, Intel MPI, srun --mpi=pmi2)
//   Slurm      SLURM_PROCID, SLURM_STEP_NUM_TASKS or SLURM_NTASKS, SLURM_LOCALID, SLURM_STEP_TASKS_PER_NODE
//              (srun; a batch script itself, which has a SLURM_JOB_ID but no SLURM_STEP_ID, is one process)
//   torchrun   RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE               (both of the first two; before Slurm where
//              TORCHELASTIC_RUN_ID shows that torchrun itself started this process inside a Slurm step)
//   none       one process
#pragma once

#include <map>
#include <optional>
#include <string>

namespace strata::dist {

using EnvironmentMap = std::map<std::string, std::string>;

/// This process's environment. Read it before MPI_Init: some MPI libraries add variables of other launchers to it.
EnvironmentMap process_environment();

enum class Launcher { none, open_mpi, pmi, slurm, torchrun };

std::string launcher_name(Launcher launcher);

struct LaunchEnvironment {
    Launcher launcher = Launcher::none;
    int rank = 0;
    int size = 1;
    std::optional<int> local_rank;  // among the processes of this host; absent where the launcher does not say
    std::optional<int> local_size;
    std::string host;
};

/// Pure. Throws UserError naming the variable when a value is missing, not a number or out of range.
LaunchEnvironment read_launch_environment(const EnvironmentMap& environment, const std::string& host);

/// What MPI says after MPI_Init.
struct MpiPlace {
    int rank = 0;
    int size = 1;
    int local_rank = 0;
    int local_size = 1;
};

/// The launcher's word with MPI's where the launcher is silent. Throws UserError naming both and the remedy when rank
/// or size differ. Local ranks may differ (containers on one host): the launcher's stand, because it binds the devices.
LaunchEnvironment verify_launch(const LaunchEnvironment& launch, const MpiPlace& mpi);

/// The device index for a rank: nothing where no device is visible, 0 where the launcher shows each task its own single
/// one, else the local rank. Throws UserError when a host runs more ranks than it has devices. That two tasks do not
/// share their single visible device shows only in the devices' identities, which is for the device backend to compare.
std::optional<int> choose_device(int local_rank, int local_size, int visible_devices, const std::string& host);

}  // namespace strata::dist
