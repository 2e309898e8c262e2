// Putting a checkpoint's state into this run's slices, whatever grouping and number of ranks wrote it.
//
// Parameters are matched by name and element range: for each member of each target group, the part inside the own slice
// is found in the file, in whatever group it lies there, and read into place. What cannot be carried is listed by name.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "dist/mpi_communicator.h"
#include "dist/state.h"
#include "dist/state_file.h"

namespace strata::dist {

/// A parameter (or group) and what became of it.
struct StateNote {
    std::string name;
    std::string reason;
};

struct StateLoadReport {
    std::vector<std::string> carried;      // all that the target holds of it came from the file
    std::vector<StateNote> started_fresh;  // not in the file, or only in part: missing moments start at zero
    std::vector<StateNote> ignored;        // in the file, with no place in the target
    std::vector<StateNote> mixed_steps;    // groups whose members come from groups with different step counts
    std::vector<StateNote> regrouped;      // groups made of others than the one of their name
};

/// Fills the own slices of `groups` and their steps. Collective: every rank brings equal groups but for slices and
/// pointers, gets an equal report, and throws the same error. UserError where a shape differs; SystemError where a part
/// that was read does not match its checksum.
///
/// Moments that the file lacks become zero; weights that it lacks stay as they are. A group's step is that of the
/// groups its members' moments come from. Where these differ the largest counts: one too small would divide settled
/// moments by a bias correction meant for young ones and make the next updates too large. It is 0 where no moments are
/// carried into a group that has them, so a thawed group starts its own count.
///
/// `foreign_moments` says why the file's moments are none of this run's ("its moments are sgd's"); empty where they
/// are. Such moments start fresh.
StateLoadReport load_group_slices(MpiCommunicator& communicator, const StateFile& file, std::span<StateGroup> groups,
                                  const std::string& foreign_moments = {});

}  // namespace strata::dist
