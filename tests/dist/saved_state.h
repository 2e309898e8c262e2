// A fixture: what all ranks save as a checkpoint, in a folder that they share.
#pragma once

#include <filesystem>
#include <string>

#include "core/file.h"
#include "dist/checkpoint.h"
#include "tests/dist/state_support.h"

namespace strata::dist::testing {

class SavedState : public ::testing::Test {
  protected:
    SharedFolder folder_{MPI_COMM_WORLD};
    MpiCommunicator world_{MPI_COMM_WORLD};

    OwnedState state_ = [this] {
        OwnedState state;
        state.add("body", {{"body.weight", {640, 256}}, {"body.bias", {256}}}, world_.rank(), world_.size());
        state.add("frozen", {{"frozen.weight", {8, 8}}}, world_.rank(), world_.size(), 0, {});
        state.add("rested", {{"rested.weight", {8, 9}}}, world_.rank(), world_.size(), 0, {StateKind::master});
        state.add("head", {{"head.weight", {3, 257}}}, world_.rank(), world_.size());
        state.fill();
        return state;
    }();

    CheckpointContent content(std::int64_t step) const {
        CheckpointContent content;
        content.header = test_header(step, world_.size());
        content.groups = state_.groups;
        content.write_files = [](const std::filesystem::path& folder) {
            write_file_atomically(folder / "config.json", "{\"model_type\": \"bert\"}\n");
            write_file_atomically(folder / "model.safetensors", std::string(10'000, 'w'));
        };
        content.file_bytes = 10'100;
        content.trainer_state = "{\"global_step\": " + std::to_string(step) + "}\n";
        return content;
    }
};

}  // namespace strata::dist::testing
