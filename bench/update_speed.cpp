// Times the fused AdamW on the CPU, and a triad of the same bytes: bench/update_vs_torch.py compares them.
//
//   OMP_NUM_THREADS=T update_speed ELEMENTS GROUPS UPDATES
//
// For each line of standard input one round, printed as {"update_ms", "clipped_ms", "triad_ms", "in_place_ms"}, each
// the least of UPDATES passes. Clipped is with the global norm and its clip coefficient before it, as in training,
// whose default is --max_grad_norm 1. The triad is a = b + s c over fp32 arrays of 7/3 as many elements: an update
// reads 16 bytes of an element and writes 12. Its processor also reads the lines of a that it writes; in place, a = a +
// s b, it does not, like the update, which writes what it has read.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/heap.h"
#include "optim/decision.h"
#include "optim/fused_update.h"
#include "optim/plan.h"

namespace strata::optim {
namespace {

/// On large pages, as the arenas of a training's groups are.
class Floats {
  public:
    Floats(std::size_t size, float value = 0.0F) : data_(std::make_unique_for_overwrite<float[]>(size)) {
        prefer_large_pages(data_.get(), size * sizeof(float));
        std::fill_n(data_.get(), size, value);
    }
    float* data() { return data_.get(); }

  private:
    std::unique_ptr<float[]> data_;
};

/// The least of so many runs, in milliseconds.
template <typename Function>
double least(int runs, const Function& run) {
    double best = 1e300;
    for (int i = 0; i < runs; ++i) {
        const auto began = std::chrono::steady_clock::now();
        run();
        const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - began;
        best = std::min(best, took.count());
    }
    return best;
}

/// `elements` in equal groups, each at its own rate and with decay, as the optimizer of a training has them.
class Update {
  public:
    Update(std::int64_t elements, std::int64_t groups)
        : plan_(plan_of(elements, groups)),
          parameters_(size_of(elements), 0.5F),
          gradients_(size_of(elements), 1e-3F),
          first_(size_of(elements)),
          second_(size_of(elements)),
          steps_(plan_.groups.size()),
          sums_(plan_.groups.size() + 1) {
        std::int64_t at = 0;
        for (std::size_t g = 0; g < plan_.groups.size(); ++g) {
            UpdateSpan span;
            span.param = parameters_.data() + at;
            span.grad = gradients_.data() + at;
            span.exp_avg = first_.data() + at;
            span.exp_avg_sq = second_.data() + at;
            span.elements = plan_.groups[g].elements;
            span.group = static_cast<std::int32_t>(g);
            span.decays = true;
            spans_.push_back(span);
            at += span.elements;
        }
    }

    void make(const UpdateControl& control = {}) {
        for (auto& step : steps_) ++step;
        const auto hypers = make_hypers(plan_, 0, steps_);
        fused_update_cpu(OptimizerKind::adamw, spans_, hypers, control);
    }

    void make_clipped() {
        const std::size_t groups = plan_.groups.size();
        square_sums_cpu(spans_, std::span(sums_).first(groups));
        make(decide(sums_.data(), static_cast<std::int64_t>(groups), {.max_norm = 1.0}));
    }

  private:
    static std::size_t size_of(std::int64_t elements) { return static_cast<std::size_t>(elements); }

    static Plan plan_of(std::int64_t elements, std::int64_t groups) {
        Manifest manifest;
        PlanConfig config;
        config.policy.kind = PolicyKind::rules;
        config.optimizer.weight_decay = 0.01;
        for (std::int64_t g = 0; g < groups; ++g) {
            const std::string name = fmt::format("layer{}.weight", g);
            manifest.push_back({name, {elements / groups + (g < elements % groups ? 1 : 0), 1}});
            config.policy.rules.push_back(
                {fmt::format("group_{}", g), {name}, static_cast<double>(1 + g) / static_cast<double>(groups), {}});
        }
        return make_plan(manifest, config);
    }

    Plan plan_;
    Floats parameters_, gradients_, first_, second_;
    std::vector<std::int64_t> steps_;
    std::vector<double> sums_;  // of each group's squared gradients, then the loss
    std::vector<UpdateSpan> spans_;
};

class Triad {
  public:
    explicit Triad(std::int64_t elements)
        : size_(elements), a_(size_of(), 0.0F), b_(size_of(), 1.0F), c_(size_of(), 2.0F) {}

    void make() {
        float* __restrict a = a_.data();
        const float* __restrict b = b_.data(), * __restrict c = c_.data();
#pragma omp parallel for simd schedule(static)
        for (std::int64_t i = 0; i < size_; ++i) a[i] = b[i] + 1.5F * c[i];
    }

    void make_in_place() {
        float* __restrict a = a_.data();
        const float* __restrict b = b_.data();
#pragma omp parallel for simd schedule(static)
        for (std::int64_t i = 0; i < size_; ++i) a[i] = a[i] + 1e-3F * b[i];
    }

  private:
    std::size_t size_of() const {
        return static_cast<std::size_t>(size_);
    }
    std::int64_t size_;
    Floats a_, b_, c_;
};

int run(std::int64_t elements, std::int64_t groups, int updates) {
    Update update(elements, groups);
    Triad triad(elements * 7 / 3);
    update.make();
    triad.make();
    for (std::string line; std::getline(std::cin, line);) {
        fmt::print("{{\"update_ms\": {}, \"clipped_ms\": {}, \"triad_ms\": {}, \"in_place_ms\": {}}}\n",
                   least(updates, [&] { update.make(); }), least(updates, [&] { update.make_clipped(); }),
                   least(updates, [&] { triad.make(); }), least(updates, [&] { triad.make_in_place(); }));
        std::fflush(stdout);
    }
    return 0;
}

}  // namespace
}  // namespace strata::optim

int main(int argc, char** argv) {
    if (argc != 4) return 2;
    return strata::optim::run(std::atoll(argv[1]), std::atoll(argv[2]), std::atoi(argv[3]));
}
