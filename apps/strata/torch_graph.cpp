#include "apps/strata/torch_graph.h"

#include <ATen/cuda/CUDAGraph.h>
#include <c10/util/Exception.h>

#include <exception>
#include <memory>

#include "core/error.h"

namespace strata::app {
namespace {

using Pool = c10::MempoolId_t;

class TorchGraph final : public optim::Recording {
  public:
    explicit TorchGraph(std::shared_ptr<const Pool> pool) : pool_(std::move(pool)) {}

    /// As ~CudaGraph: stops the host until the last replay is done, but not while an exception passes.
    ~TorchGraph() override {
        if (std::uncaught_exceptions() > 0) {
            static_cast<void>(graph_.release());
            return;
        }
        try {
            stream_.synchronize();
            graph_.reset();
        } catch (const std::exception&) {
            // The device has failed, which whoever asks it next will hear.
        }
    }
    TorchGraph(const TorchGraph&) = delete;
    TorchGraph& operator=(const TorchGraph&) = delete;

    void record(const std::function<void()>& work) override {
        call([&] {
            // What direct passes have left in the allocator's hands would lie beside the pool, unused.
            c10::cuda::CUDACachingAllocator::emptyCache();
            // Other threads (NCCL's watch) may go on asking events.
            graph_->capture_begin(*pool_, cudaStreamCaptureModeThreadLocal);
            try {
                work();
            } catch (...) {
                end_broken();
                throw;
            }
            graph_->capture_end();
        });
    }

    void replay() override {
        call([&] { graph_->replay(); });
    }

  private:
    /// What went wrong is on its way to the caller.
    void end_broken() {
        try {
            graph_->capture_end();
        } catch (const std::exception&) {
        }
    }

    template <typename Call>
    static void call(const Call& call) {
        try {
            call();
        } catch (const c10::Error& error) {
            throw SystemError(error.what_without_backtrace());
        }
    }

    std::shared_ptr<const Pool> pool_;
    c10::cuda::CUDAStream stream_ = c10::cuda::getCurrentCUDAStream();
    std::unique_ptr<at::cuda::CUDAGraph> graph_ = std::make_unique<at::cuda::CUDAGraph>();
};

}  // namespace

/// The pool is theirs together: the allocator wants a new one once the last of them is gone.
extern "C" __attribute__((visibility("default"))) void strata_torch_graphs(
    optim::ReplayedWork::MakeRecording& recordings) {
    recordings = [shared = std::weak_ptr<const Pool>()]() mutable {
        std::shared_ptr<const Pool> pool = shared.lock();
        if (!pool) shared = pool = std::make_shared<const Pool>(at::cuda::graph_pool_handle());
        return std::make_unique<TorchGraph>(std::move(pool));
    };
}

}  // namespace strata::app
