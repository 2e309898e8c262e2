#include "apps/strata/device.h"

#include <ATen/Context.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <utility>
#include <variant>

#include "apps/strata/torch_graph.h"
#include "core/error.h"
#include "dist/agreement.h"
#include "dist/group_storage.h"
#include "dist/launch_environment.h"
#include "models/sent.h"
#include "optim/cuda_handles.h"
#include "optim/device.h"

#ifdef STRATA_WITH_NCCL
#include "dist/nccl_communicator.h"
#endif

namespace strata::app {
namespace {

/// LibTorch finds its CUDA half by what that half registers when it is loaded. Never closed.
void load_torch_cuda() {
    if (c10::impl::hasDeviceGuardImpl(c10::DeviceType::CUDA)) return;
    if (dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL) == nullptr)
        system_error("LibTorch's CUDA half cannot be loaded: {}; train with --device cpu", dlerror());
}

std::string why_no_gpu() {
    return optim::cuda_built()
               ? "no NVIDIA driver answers, or CUDA_VISIBLE_DEVICES shows none (nvidia-smi -L lists them)"
               : "this strata was built without CUDA, since there was no nvcc (launch/setup)";
}

std::optional<int> wanted_gpu(const Config& config, const dist::Communicator& communicator) {
    if (config.device == "cpu") return std::nullopt;
    if (!config.torchscript.empty()) {
        if (config.device == "cuda")
            user_error("--device cuda with --torchscript: a TorchScript module computes on the CPU so far");
        return std::nullopt;
    }
    const int visible = optim::device_count();
    if (visible == 0 && config.device == "cuda")
        user_error("--device cuda, but {} has no GPU to use: {}", communicator.host(), why_no_gpu());
    return dist::choose_device(communicator.local_rank(), communicator.local_size(), visible, communicator.host());
}

/// NCCL takes ranks with NCCL_HOSTIDs of their own for ranks of different hosts, and lets them share a GPU; so do we.
/// Whoever sets it measures what several ranks do where there is one card.
std::string host_id_of_nccl() {
    const char* const id = std::getenv("NCCL_HOSTID");
    return id == nullptr ? "" : fmt::format(" of NCCL's host {}", id);
}

dist::DeviceIdentity identity_of(int gpu) {
    const optim::DeviceFacts facts = optim::device_facts(gpu);
    return {facts.uuid + host_id_of_nccl(),
            fmt::format("{}, a driver for CUDA {}.{}", facts.name, facts.driver / 1000, facts.driver % 1000 / 10)};
}

void use_gpu(torch::Device device, bool captures) {
    load_torch_cuda();
#ifdef STRATA_WITH_CUDA
    optim::use_device(device.index());
#endif
    const auto* const torch_cuda = c10::impl::getDeviceGuardImpl(c10::DeviceType::CUDA);
    torch_cuda->setDevice(device);
    if (captures) torch_cuda->exchangeStream(torch_cuda->getStreamFromGlobalPool(device));
}

}  // namespace

void allow_tf32(const Config& config, torch::Device device) {
    if (!config.tf32) return;
    if (!device.is_cpu()) return at::globalContext().setAllowTF32CuBLAS(*config.tf32);
    if (*config.tf32)
        user_error("tf32 is for NVIDIA GPUs from Ampere on, and this run computes on the CPU; leave it out");
}

torch::Device choose_device(const Config& config, dist::Communicator& communicator) {
    const std::optional<int> gpu =
        dist::collectively(communicator, "choosing a GPU", [&] { return wanted_gpu(config, communicator); });
    std::optional<dist::DeviceIdentity> own;
    dist::collectively(communicator, "looking at the GPU", [&] {
        if (gpu) own = identity_of(*gpu);
    });
    dist::require_own_devices(communicator, own);
    const torch::Device device =
        gpu ? torch::Device(torch::kCUDA, static_cast<torch::DeviceIndex>(*gpu)) : torch::Device(torch::kCPU);
    dist::collectively(communicator, "starting the GPU", [&] {
        const bool captures = captures_updates(config, device);
        if (gpu) use_gpu(device, captures);
        allow_tf32(config, device);
    });
    return device;
}

bool captures_updates(const Config& config, torch::Device device) {
    if (config.cuda_graph != "true") return false;
    if (device.is_cpu())
        user_error(
            "cuda_graph is for NVIDIA GPUs, and this run computes on the CPU; leave it out, or use --device cuda");
    return true;
}

bool has_pass_recordings() {
#ifdef STRATA_WITH_TORCH_GRAPH
    return true;
#else
    return false;
#endif
}

optim::ReplayedWork::MakeRecording pass_recordings() {
    void* const library = dlopen("libstrata_torch_graph.so", RTLD_NOW | RTLD_LOCAL);
    auto* const make = library == nullptr ? nullptr : reinterpret_cast<TorchGraphs*>(dlsym(library, torch_graphs_name));
    if (make == nullptr)
        system_error("CUDA graphs of passes are not to be had: {}; train with --cuda_graph false", dlerror());
    optim::ReplayedWork::MakeRecording recordings;
    make(recordings);
    return recordings;
}

CUstream_st* compute_stream(torch::Device device) {
    if (device.is_cpu()) return nullptr;
    const auto* const torch_cuda = c10::impl::getDeviceGuardImpl(c10::DeviceType::CUDA);
    return static_cast<CUstream_st*>(torch_cuda->getStreamNativeHandle(torch_cuda->getStream(device)));
}

Bf16Ability common_bf16(const Bf16Ability& own, dist::Communicator& communicator) {
    const std::vector<std::string> lacking = communicator.all_gather_bytes(own.has ? "" : communicator.host());
    const auto first = std::find_if(lacking.begin(), lacking.end(), [](const auto& host) { return !host.empty(); });
    if (first == lacking.end()) return own;
    Bf16Ability common = own;
    common.has = false;
    common.host = *first;
    return common;
}

Bf16Ability common_bf16(torch::Device device, dist::Communicator& communicator) {
    return common_bf16(device.is_cpu() ? processor_bf16() : gpu_bf16(device.index()), communicator);
}

std::string settle_precision(Config& config, torch::Device device, dist::Communicator& communicator,
                             const std::optional<std::string>& saved) {
    const Bf16Ability ability = common_bf16(device, communicator);
    return dist::collectively(communicator, "settling the precision",
                              [&] { return settle_precision(config, ability, saved); });
}

std::string device_text(torch::Device device) {
    if (device.is_cpu()) return "cpu";
    return fmt::format("{} ({})", optim::device_facts(device.index()).name, device.str());
}

std::unique_ptr<dist::Communicator> gpu_communicator([[maybe_unused]] const Config& config, torch::Device device,
                                                     [[maybe_unused]] dist::Communicator& communicator) {
    if (device.is_cpu()) return nullptr;
#ifdef STRATA_WITH_NCCL
    dist::NcclOptions options;
    options.device = device.index();
    options.compute_stream = compute_stream(device);
    options.ordered_sums = config.deterministic;
    options.limits.wait = std::chrono::milliseconds(static_cast<std::int64_t>(1000 * config.ddp_timeout));
    const auto nccl = dist::collectively(communicator, "loading NCCL", [] { return dist::load_nccl(); });
    return std::make_unique<dist::NcclCommunicator>(communicator.split(0), nccl, options);
#else
    throw dist::AgreedUserError("training on GPUs needs NCCL, whose header was not found when strata was built");
#endif
}

void move_model(const models::Model& model, torch::Device device) {
    if (device.is_cpu()) return;
    const torch::NoGradGuard no_grad;
    for (auto [name, tensor] : model.named_parameter_list()) tensor.set_data(tensor.to(device));
    for (auto [name, tensor] : model.named_buffer_list()) tensor.set_data(tensor.to(device));
}

void round_parameters(const models::Model& model, optim::ComputeType type) {
    if (type == optim::ComputeType::fp32) return;
    const torch::NoGradGuard no_grad;
    for (auto [name, tensor] : model.named_parameter_list()) tensor.set_data(tensor.to(dist::scalar_type(type)));
}

torch::Device device_of(const models::Model& model) {
    const models::NamedTensors parameters = model.named_parameter_list();
    return parameters.empty() ? torch::Device(torch::kCPU) : parameters.front().second.device();
}

models::Input on_device(models::Input input, torch::Device device) {
    if (device.is_cpu()) return input;
    if (auto* const dense = std::get_if<models::DenseInput>(&input))
        dense->values = models::sent(dense->values, device);
    if (auto* const packed = std::get_if<models::PackedInput>(&input)) {
        const std::vector<torch::Tensor> there = models::sent_together(models::tensors_of(*packed), device);
        *packed = models::with_tensors(std::move(*packed), there);
    }
    return input;
}

}  // namespace strata::app
