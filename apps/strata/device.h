// Where a rank computes: on the CPU, or on a GPU of its own.
#pragma once

#include <torch/types.h>

#include <memory>
#include <optional>
#include <string>

#include "apps/strata/config.h"
#include "apps/strata/precision.h"
#include "dist/communicator.h"
#include "models/model.h"
#include "optim/replayed_work.h"

struct CUstream_st;  // what cudaStream_t points to

namespace strata::app {

/// What --device says of this rank, all ranks alike: the CPU, or the GPU of its local rank, which is made the thread's
/// current one. LibTorch's CUDA half is loaded only then, so a run on the CPU, and a machine without a driver, start
/// without it. Throws UserError where `cuda` is asked for and there is none, where a host runs more ranks than it has
/// GPUs, where ranks share one or theirs differ, and where some ranks have one and others none. TF32 is allowed or not
/// as tf32 says. Where updates are captured, LibTorch computes in a stream of its own from here on, since CUDA's
/// default one cannot be. Collective.
torch::Device choose_device(const Config& config, dist::Communicator& communicator);

/// What all ranks can do: where one lacks bf16, all go without. Collective.
Bf16Ability common_bf16(const Bf16Ability& own, dist::Communicator& communicator);
/// The same of what they compute on. Collective.
Bf16Ability common_bf16(torch::Device device, dist::Communicator& communicator);

/// settle_precision() by what all ranks can do on `device`. Collective.
std::string settle_precision(Config& config, torch::Device device, dist::Communicator& communicator,
                             const std::optional<std::string>& saved = std::nullopt);

/// Tells LibTorch what tf32 says of fp32 products, if it says something. UserError where it wants TF32 of the CPU.
void allow_tf32(const Config& config, torch::Device device);

/// Whether updates are captured in CUDA graphs, as cuda_graph says. UserError where that is asked of the CPU.
bool captures_updates(const Config& config, torch::Device device);

/// Whether this strata was built with pass_recordings(): with CUDA, and beside a LibTorch that has its CUDA half.
bool has_pass_recordings();

/// What captures LibTorch's own work (torch_graph.h): loads the library that it lies in. SystemError where it cannot.
optim::ReplayedWork::MakeRecording pass_recordings();

/// The stream that LibTorch computes in on this thread; null for CUDA's default one, and on the CPU.
CUstream_st* compute_stream(torch::Device device);

/// "cpu", "NVIDIA H200 (cuda:1)".
std::string device_text(torch::Device device);

/// What gradients and parameters travel over between the ranks' GPUs (NCCL); null on the CPU, where they travel over
/// `communicator` itself. Collective. UserError where this strata was built without NCCL.
std::unique_ptr<dist::Communicator> gpu_communicator(const Config& config, torch::Device device,
                                                     dist::Communicator& communicator);

/// Moves the model's parameters and buffers there. The tensors stay the same objects.
void move_model(const models::Model& model, torch::Device device);

/// Rounds the parameters of a model that only computes to the type it computes in, as a run's storage rounds those of
/// one that learns. In fp32 they stay as they are.
void round_parameters(const models::Model& model, optim::ComputeType type);

torch::Device device_of(const models::Model& model);

/// The same batch there. Batches are made on the CPU.
models::Input on_device(models::Input input, torch::Device device);

}  // namespace strata::app
