// A job whose last rank fails while it captures a step (graph_failure_test.cpp), over the stand-ins of CUDA and NCCL,
// as a program's main handles it (apps/strata/main.cpp does the same).
#include <cstdio>
#include <exception>
#include <vector>

#include "dist/mpi_environment.h"
#include "nccl_backends.h"
#include "nccl_stand_in.h"
#include "optim/cuda_graph.h"
#include "optim/replayed_work.h"

namespace strata::dist::testing {

std::vector<BackendCase> backends() {
    return {};
}

namespace {

/// Direct, then captured: there the last rank waits for its stream.
void work(bool fails) {
    const optim::CudaStream stream;
    NcclOptions options;
    options.compute_stream = stream.get();
    NcclBackend gpu(nccl_stand_in(), options);
    Communicator& communicator = gpu.communicator();
    Values<float> values(gpu, std::vector<float>(64, 1.0F));
    optim::ReplayedWork replayed([&] { return std::make_unique<optim::CudaGraph>(stream.get()); }, {.direct_first = 1});
    for (int step = 0; step < 4; ++step) {
        communicator.activity().enter("update");
        replayed.run(0, {}, [&] {
            communicator.all_reduce_sum(values.view(ElementType::float32)).wait();
            if (fails && step == 1 && communicator.rank() == communicator.size() - 1) optim::wait_for(stream.get());
        });
        optim::wait_for(stream.get());
    }
    if (communicator.rank() == 0) std::printf("replayed %d\n", static_cast<int>(replayed.counts().replayed));
}

}  // namespace
}  // namespace strata::dist::testing

int main(int argc, char** argv) {
    const strata::dist::MpiEnvironment mpi(&argc, &argv);
    try {
        strata::dist::testing::work(argc > 1);
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "message: %s\n", error.what());
        strata::dist::abort_job(1);
    }
}
