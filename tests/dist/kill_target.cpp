// Saves one checkpoint after another until it is killed. kill_test runs it under mpirun: kill_target OUTPUT_DIR
#include <mpi.h>
#include <unistd.h>

#include "core/file.h"
#include "dist/checkpoint.h"
#include "dist/mpi_environment.h"
#include "tests/dist/state_support.h"

int main(int argc, char** argv) {
    using namespace strata;
    using namespace strata::dist;
    const MpiEnvironment environment(&argc, &argv);
    if (argc != 2) return 2;
    const std::filesystem::path output_dir = argv[1];
    MpiCommunicator world;
    dist::testing::OwnedState state;
    state.add("body", {{"body.weight", {700, 500}}, {"body.bias", {500}}}, world.rank(), world.size());
    state.add("head", {{"head.weight", {2, 500}}}, world.rank(), world.size());
    state.fill();

    const auto newest = newest_valid_checkpoint(world, output_dir, nullptr);
    std::int64_t step = newest ? StateFile(*newest / "state.h5").header().step : 0;
    write_file_atomically(output_dir / ("pid-" + std::to_string(world.rank())), std::to_string(::getpid()));
    while (true) {
        CheckpointContent content;
        content.header = dist::testing::test_header(++step, world.size());
        content.groups = state.groups;
        content.trainer_state = "{}";
        content.write_files = [](const std::filesystem::path& folder) {
            write_file_atomically(folder / "model.safetensors", std::string(1'000'000, 'w'));
        };
        write_checkpoint(world, output_dir, content);
        if (world.rank() == 0) {
            write_file_atomically(output_dir / "saved", std::to_string(step));
            rotate_checkpoints(output_dir, 2);
        }
    }
}
