// What a save and a resume cost, of a state of so many megabytes a rank (weights and two moments). FOLDER is empty.
//
//   mpirun -np N checkpoint_cost save FOLDER MEGABYTES ROUNDS
//
// Each round measures, in turn, on all ranks together:
//   copy         the rank's slices copied once, into memory that was used before
//   stall        what training stands still for when a save beside it begins (snapshot and start of the thread)
//   checkpoint   write_checkpoint, blocking: laid out, hashed, written, read back against its checksums, synced,
//                renamed
//   plain        MPI-IO alone: the same bytes to one file, each rank's part of each group in one piece, closed and
//   synced
// and prints milliseconds, then the medians and the ranges of stall less copy and of plain over checkpoint.
//
//   mpirun -np N checkpoint_cost resume FOLDER MEGABYTES ROUNDS
//
// Saves once, then times what a start does: finding the newest checkpoint that verifies, which reads and hashes every
// byte, and loading the own slices, which hashes what it reads. Prints one JSON object of milliseconds.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "core/file.h"
#include "dist/background_task.h"
#include "dist/checkpoint.h"
#include "dist/mpi_environment.h"
#include "dist/state_load.h"
#include "dist/state_snapshot.h"

namespace strata::dist {
namespace {

namespace fs = std::filesystem;

/// Twelve groups of equal size, each rank with its part of every one.
struct State {
    State(std::int64_t bytes_per_rank, int rank, int size) {
        constexpr std::int64_t count = 12;
        const std::int64_t part = bytes_per_rank / 4 / 3 / count;
        for (std::int64_t i = 0; i < count; ++i) {
            StateGroup group;
            group.name = fmt::format("layer_{}", i);
            group.elements = part * size;
            group.members.push_back({group.name + ".weight", {group.elements}, 0, group.elements, true});
            group.begin = part * rank;
            group.end = part * (rank + 1);
            for (const StateKind kind : state_kinds) {
                auto& values = memory.emplace_back(static_cast<std::size_t>(part));
                for (std::size_t j = 0; j < values.size(); ++j) values[j] = static_cast<float>(j % 65521) + 0.5F;
                pointer_of(group, kind) = values.data();
            }
            groups.push_back(std::move(group));
        }
    }

    std::vector<std::vector<float>> memory;
    std::vector<StateGroup> groups;
};

/// Milliseconds until the last rank is done.
double timed(MpiCommunicator& world, const std::function<void()>& work) {
    world.barrier();
    const auto began = std::chrono::steady_clock::now();
    work();
    const auto own = std::chrono::steady_clock::now() - began;
    return static_cast<double>(
               world.all_reduce_max(std::chrono::duration_cast<std::chrono::microseconds>(own).count())) *
           1e-3;
}

void write_plainly(MpiCommunicator& world, const State& state, const fs::path& path) {
    MPI_File file = MPI_FILE_NULL;
    MPI_File_open(world.handle(), path.c_str(), MPI_MODE_CREATE | MPI_MODE_WRONLY, MPI_INFO_NULL, &file);
    MPI_Offset at = 0;
    for (std::size_t i = 0; i < state.memory.size(); ++i) {
        const auto bytes = static_cast<MPI_Offset>(state.memory[i].size() * sizeof(float));
        MPI_File_write_at(file, at + world.rank() * bytes, state.memory[i].data(),
                          static_cast<int>(state.memory[i].size()), MPI_FLOAT, MPI_STATUS_IGNORE);
        at += world.size() * bytes;
    }
    MPI_File_close(&file);
    sync_path(path);
    if (world.rank() == 0) sync_path(path.parent_path());
}

CheckpointContent content_of(const State& state, std::int64_t step) {
    CheckpointContent content;
    content.header.step = step;
    content.groups = state.groups;
    content.trainer_state = "{}\n";
    return content;
}

std::string summary(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return fmt::format("median {:.2f}, least {:.2f}, most {:.2f}", values[values.size() / 2], values.front(),
                       values.back());
}

void measure_save(const fs::path& folder, std::int64_t megabytes, int rounds) {
    MpiCommunicator world;
    State state(megabytes * 1'000'000, world.rank(), world.size());
    State copy(megabytes * 1'000'000, world.rank(), world.size());
    StateSnapshot snapshot;
    BackgroundTask task(world);
    std::vector<double> beyond_copy;
    std::vector<double> rates;
    for (int round = 0; round <= rounds; ++round) {
        const double copied = timed(world, [&] {
            for (std::size_t i = 0; i < state.memory.size(); ++i)
                std::copy(state.memory[i].begin(), state.memory[i].end(), copy.memory[i].begin());
        });
        CheckpointContent beside = content_of(state, 1);
        const double stalled = timed(world, [&] {
            snapshot.take(beside.groups);
            task.start([&](MpiCommunicator& own) { write_checkpoint(own, folder, beside); });
        });
        task.finish();
        const double written = timed(world, [&] { write_checkpoint(world, folder, content_of(state, 2)); });
        const fs::path file = folder / "plain";
        const double plain = timed(world, [&] { write_plainly(world, state, file); });
        world.barrier();
        if (world.rank() == 0) {
            fs::remove(file);
            for (const auto& entry : list_checkpoints(folder)) fs::remove_all(entry.path);
            fmt::print("{}copy {:.1f}, stall {:.1f}, checkpoint {:.1f}, plain MPI-IO {:.1f} ms\n",
                       round == 0 ? "first: " : "", copied, stalled, written, plain);
        }
        if (round == 0) continue;
        beyond_copy.push_back(stalled - copied);
        rates.push_back(plain / written);
    }
    if (world.rank() != 0) return;
    fmt::print("stall less copy, ms: {}\n", summary(beyond_copy));
    fmt::print("checkpoint's rate, plain MPI-IO being 1: {}\n", summary(rates));
}

void measure_resume(const fs::path& folder, std::int64_t megabytes, int rounds) {
    MpiCommunicator world;
    State state(megabytes * 1'000'000, world.rank(), world.size());
    const double saved = timed(world, [&] { write_checkpoint(world, folder, content_of(state, 1)); });
    std::vector<double> verified;
    std::vector<double> loaded;
    for (int round = 0; round < rounds; ++round) {
        std::optional<fs::path> found;
        verified.push_back(timed(world, [&] {
            found = newest_valid_checkpoint(world, folder, [](const std::string& text) { fmt::print("{}\n", text); });
        }));
        loaded.push_back(timed(world, [&] {
            const StateFile file = open_checkpoint_state(*found);
            load_group_slices(world, file, state.groups);
        }));
    }
    if (world.rank() == 0)
        fmt::print("{{\"save\": [{:.1f}], \"verify\": [{:.1f}], \"load\": [{:.1f}]}}\n", saved,
                   fmt::join(verified, ", "), fmt::join(loaded, ", "));
}

}  // namespace
}  // namespace strata::dist

int main(int argc, char** argv) {
    const strata::dist::MpiEnvironment mpi(&argc, &argv);
    const std::string_view what = argc == 5 ? argv[1] : "";
    if (what == "save")
        strata::dist::measure_save(argv[2], std::atoll(argv[3]), std::atoi(argv[4]));
    else if (what == "resume")
        strata::dist::measure_resume(argv[2], std::atoll(argv[3]), std::atoi(argv[4]));
    else
        fmt::print(stderr, "checkpoint_cost save|resume FOLDER MEGABYTES ROUNDS\n");
    return what == "save" || what == "resume" ? 0 : 2;
}
