// How fast the fused update is on this GPU, against the GPU's own copy: JSON on standard output. bench/gpu/run runs it.
//
// One AdamW update of 110 M and of 335 M parameters (BERT-base's and BERT-large's number) in 1, 14, 28, 62 and 465
// groups, each group of a part that decays and one that does not. An update moves 28 bytes a parameter: it reads
// parameter, gradient and two moments, and writes all but the gradient. "copy" is cudaMemcpyAsync within the device,
// which moves 2 bytes for each it copies. Times are medians of launches timed by events.
//
// "graph_replay": what follows the gradients on one rank (square sums, decision, clipped update: four kernels),
// launched one by one, and replayed as one CUDA graph; of few parameters, where launches count, and of many.
#include "optim/cuda_check.h"
#include "optim/cuda_graph.h"
#include "optim/cuda_handles.h"
#include "optim/device.h"
#include "optim/fused_update_cuda.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <functional>
#include <vector>

namespace {

using namespace strata::optim;

constexpr int warm_ups = 5;
constexpr int rounds = 30;
constexpr double bytes_per_parameter = 28;

class Timer {
  public:
    Timer() {
        STRATA_CUDA_CHECK(cudaEventCreate(&begin_));
        STRATA_CUDA_CHECK(cudaEventCreate(&end_));
    }
    ~Timer() {
        cudaEventDestroy(begin_);
        cudaEventDestroy(end_);
    }
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;

    /// Median seconds of one call.
    double seconds(const std::function<void()>& launch, CUstream_st* stream = nullptr) {
        std::vector<double> times;
        for (int round = 0; round < warm_ups + rounds; ++round) {
            STRATA_CUDA_CHECK(cudaEventRecord(begin_, stream));
            launch();
            STRATA_CUDA_CHECK(cudaEventRecord(end_, stream));
            STRATA_CUDA_CHECK(cudaEventSynchronize(end_));
            float milliseconds = 0;
            STRATA_CUDA_CHECK(cudaEventElapsedTime(&milliseconds, begin_, end_));
            if (round >= warm_ups) times.push_back(milliseconds / 1000.0);
        }
        std::nth_element(times.begin(), times.begin() + rounds / 2, times.end());
        return times[rounds / 2];
    }

  private:
    cudaEvent_t begin_ = nullptr;
    cudaEvent_t end_ = nullptr;
};

template <typename Value>
const Value* on_device(DeviceMemory& memory, const std::vector<Value>& values) {
    auto* const data = reinterpret_cast<Value*>(memory.at_least(values.size() * sizeof(Value)));
    copy_bytes(data, values.data(), values.size() * sizeof(Value), nullptr);
    return data;
}

float* zeros(DeviceMemory& memory, std::int64_t elements) {
    const std::size_t bytes = static_cast<std::size_t>(elements) * sizeof(float);
    std::byte* const data = memory.at_least(bytes);
    STRATA_CUDA_CHECK(cudaMemset(data, 0, bytes));
    return reinterpret_cast<float*>(data);
}

/// GB/s of a copy within the device, read and written bytes together.
double copy_rate(Timer& timer) {
    constexpr std::size_t bytes = std::size_t{1} << 30;
    DeviceMemory from, to;
    std::byte* const source = from.at_least(bytes);
    std::byte* const target = to.at_least(bytes);
    const double seconds = timer.seconds([&] { copy_bytes(target, source, bytes, nullptr); });
    return 2.0 * static_cast<double>(bytes) / seconds / 1e9;
}

struct Slices {
    explicit Slices(std::int64_t count)
        : elements(count),
          param(zeros(memory[0], count)),
          grad(zeros(memory[1], count)),
          first(zeros(memory[2], count)),
          second(zeros(memory[3], count)) {}

    /// Groups of equal size; of each, the last 1/128 does not decay. Borders lie at 64 elements, as slices do.
    std::vector<UpdateSpan> spans(int groups) const {
        std::vector<UpdateSpan> all;
        const std::int64_t each = elements / groups / 64 * 64;
        const std::int64_t decaying = each - std::max<std::int64_t>(64, each / 128 / 64 * 64);
        for (int g = 0; g < groups; ++g) {
            const std::int64_t begin = g * each;
            const std::int64_t size = g + 1 == groups ? elements - begin : each;
            for (const bool decays : {true, false}) {
                UpdateSpan span;
                const std::int64_t at = begin + (decays ? 0 : decaying);
                span.param = param + at;
                span.grad = grad + at;
                span.exp_avg = first + at;
                span.exp_avg_sq = second + at;
                span.elements = decays ? decaying : size - decaying;
                span.group = g;
                span.decays = decays;
                all.push_back(span);
            }
        }
        return all;
    }

    DeviceMemory memory[4];
    std::int64_t elements;
    float *param, *grad, *first, *second;
};

/// An update of slices, and the norms before it, with its tables.
class Update {
  public:
    Update(const Slices& slices, int groups) : groups_(groups) {
        const std::vector<UpdateSpan> spans = slices.spans(groups);
        const std::vector<std::int64_t> tiles = first_tiles(spans);
        GroupHyper hyper;
        hyper.lr = hyper.step_size = 1e-5F;
        hyper.decay_factor = 1.0F - 1e-7F;
        hyper.one_minus_beta1 = 0.1F;
        hyper.beta2 = 0.999F;
        hyper.one_minus_beta2 = 0.001F;
        hyper.epsilon = 1e-8F;
        const auto count = static_cast<std::size_t>(groups);
        tables_.spans = on_device(memory_[0], spans);
        tables_.first_tiles = on_device(memory_[1], tiles);
        tables_.hypers = on_device(memory_[2], std::vector<GroupHyper>(count, hyper));
        tables_.control = on_device(memory_[3], std::vector<UpdateControl>(1));
        tables_.span_count = static_cast<std::int64_t>(spans.size());
        tables_.tile_count = tiles.back();
        bins_ = {on_device(memory_[4], group_bins(spans, count)), groups};
        sums_ = on_device(memory_[5], std::vector<double>(count + 1, 0.0));
        max_norm_ = on_device(memory_[6], std::vector<double>(1, 1.0));
        tile_sums_ = memory_[7].at_least(static_cast<std::size_t>(tiles.back()) * sizeof(SumPair));
    }

    void update(CUstream_st* stream) const { fused_update_cuda(OptimizerKind::adamw, tables_, stream); }

    void clip_and_update(CUstream_st* stream) const {
        UpdateTables measured = tables_;
        measured.tile_sums = reinterpret_cast<SumPair*>(tile_sums_);
        square_sums_cuda(measured, bins_, const_cast<double*>(sums_), stream);
        decide_cuda(sums_, groups_, max_norm_, nullptr, const_cast<UpdateControl*>(tables_.control), stream);
        update(stream);
    }

  private:
    int groups_;
    DeviceMemory memory_[8];
    UpdateTables tables_;
    TileBins bins_;
    const double* sums_ = nullptr;
    const double* max_norm_ = nullptr;
    std::byte* tile_sums_ = nullptr;
};

void print_updates(Timer& timer, double copied) {
    bool first = true;
    for (const std::int64_t parameters : {std::int64_t{110'000'000}, std::int64_t{335'000'000}}) {
        const Slices slices(parameters);
        for (const int groups : {1, 14, 28, 62, 465}) {
            const Update update(slices, groups);
            const double seconds = timer.seconds([&] { update.update(nullptr); });
            const double rate = bytes_per_parameter * static_cast<double>(parameters) / seconds / 1e9;
            std::printf(
                "%s\n    {\"parameters\": %lld, \"groups\": %d, \"seconds\": %.7f, \"gb_per_s\": %.1f, "
                "\"of_copy\": %.4f}",
                first ? "" : ",", static_cast<long long>(parameters), groups, seconds, rate, rate / copied);
            first = false;
        }
    }
}

void print_replays(Timer& timer) {
    constexpr int groups = 28;
    bool first = true;
    for (const std::int64_t parameters : {std::int64_t{1'000'000}, std::int64_t{110'000'000}}) {
        const Slices slices(parameters);
        const Update update(slices, groups);
        wait_for(nullptr);
        const CudaStream stream;
        const double direct = timer.seconds([&] { update.clip_and_update(stream.get()); }, stream.get());
        CudaGraph graph(stream.get());
        graph.record([&] { update.clip_and_update(stream.get()); });
        const double replayed = timer.seconds([&] { graph.replay(); }, stream.get());
        std::printf(
            "%s\n    {\"parameters\": %lld, \"groups\": %d, \"direct_seconds\": %.7f, \"replayed_seconds\": %.7f}",
            first ? "" : ",", static_cast<long long>(parameters), groups, direct, replayed);
        first = false;
    }
}

void run() {
    use_device(0);
    const DeviceFacts facts = device_facts(0);
    Timer timer;
    const double copied = copy_rate(timer);
    std::printf("{\n  \"device\": \"%s\",\n  \"driver_cuda\": %d,\n  \"copy_gb_per_s\": %.1f,\n  \"updates\": [",
                facts.name.c_str(), facts.driver, copied);
    print_updates(timer, copied);
    std::printf("\n  ],\n  \"graph_replay\": [");
    print_replays(timer);
    std::printf("\n  ]\n}\n");
}

}  // namespace

int main() {
    if (device_count() == 0) {
        std::fprintf(stderr, "gpu_update: no GPU here (no NVIDIA driver answers); there is nothing to measure\n");
        return 77;
    }
    try {
        run();
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "gpu_update: %s\n", error.what());
        return 1;
    }
}
