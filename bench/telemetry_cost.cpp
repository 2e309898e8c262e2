// What telemetry adds to an update: norms of weights and changes in the fused update, their all-reduce, one line of
// metrics.jsonl and one TensorBoard record. Updates with and without take turns.
//
//   OMP_NUM_THREADS=1 telemetry_cost MODEL_FOLDER UPDATES SCRATCH_FOLDER
//
// MODEL_FOLDER's shapes alone are read. Prints the processor's time, which other programs do not change much, on one
// thread and one rank: medians over UPDATES / 2 each, for two divisions of the model. On N ranks each has an N-th of
// it.
#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <filesystem>

#include "apps/strata/event_file.h"
#include "apps/strata/event_scalars.h"
#include "apps/strata/run_directory.h"
#include "dist/mpi_communicator.h"
#include "dist/mpi_environment.h"
#include "dist/zero_optimizer.h"
#include "models/hf_folder.h"
#include "optim/plan.h"

namespace strata::app {
namespace {

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values.empty() ? 0.0 : values[values.size() / 2];
}

/// Milliseconds of this thread.
double now() {
    timespec time{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_nsec) * 1e-6;
}

/// What the trainer's log does with a report.
StepRecord record_of(const optim::Plan& plan, const dist::StepReport& report, std::int64_t step) {
    StepRecord record;
    record.step = step;
    for (std::size_t group = 0; group < plan.groups.size(); ++group) {
        const std::string& name = plan.groups[group].name;
        record.learning_rates.emplace_back(name, report.learning_rates[group]);
        record.group_grad_norms.emplace_back(name, report.group_grad_norms[group]);
        record.group_weight_norms.emplace_back(name, report.group_weight_norms[group]);
        record.group_update_ratios.emplace_back(name, report.group_update_ratios[group]);
    }
    return record;
}

struct Cost {
    double without = 0;  // milliseconds
    double with = 0;
    double writing = 0;  // of `with`
};

class Bench {
  public:
    Bench(optim::PolicyKind policy, const std::filesystem::path& model, dist::Communicator& communicator)
        : communicator_(communicator) {
        optim::PlanConfig config;
        config.policy.kind = policy;
        config.total_steps = 1 << 20;
        config.world_size = communicator.size();
        optim::Manifest manifest;
        for (const auto& [name, shape] : models::parameter_shapes(models::read_bert_config(model))) {
            manifest.push_back({name, shape});
            parameters_.emplace_back(name, torch::randn(shape).set_requires_grad(true));
        }
        plan_ = optim::make_plan(manifest, config);
    }

    Cost run(int updates, const std::filesystem::path& folder) {
        dist::GroupStorage storage(plan_, parameters_, communicator_.rank());
        dist::ZeroOptimizer zero(plan_, storage, communicator_);
        const RunDirectory log(folder);
        const EventFile events(folder, 1);
        std::vector<double> times[2], writing;
        for (int step = 0; step < updates; ++step) {
            for (std::size_t group = 0; group < storage.groups(); ++group) {
                const dist::PartedView parts = storage.gradient_parts(group);
                std::fill_n(static_cast<float*>(parts.data), parts.stride * communicator_.size(), 1e-3F);
            }
            const bool telemetry = step % 2 == 1;
            const double began = now();
            const dist::StepReport report = zero.step({step, 1.0, 0.5, telemetry});
            const double stepped = now();
            if (telemetry) {
                const StepRecord record = record_of(plan_, report, step);
                log.append_metrics(to_json(record));
                events.append(step, scalars_of(record));
                writing.push_back(now() - stepped);
            }
            times[telemetry ? 1 : 0].push_back(now() - began);
        }
        return {median(times[0]), median(times[1]), median(writing)};
    }

    std::size_t groups() const { return plan_.groups.size(); }

  private:
    dist::Communicator& communicator_;
    dist::NamedParameters parameters_;
    optim::Plan plan_;
};

}  // namespace
}  // namespace strata::app

int main(int argc, char** argv) {
    using namespace strata;
    if (argc != 4) return 2;
    const dist::MpiEnvironment mpi(&argc, &argv);
    dist::MpiCommunicator communicator(MPI_COMM_SELF);
    torch::set_num_threads(1);
    for (const auto policy : {optim::PolicyKind::layer_decay, optim::PolicyKind::parameter_decay}) {
        app::Bench bench(policy, argv[1], communicator);
        const app::Cost cost = bench.run(std::atoi(argv[2]), argv[3]);
        fmt::print("{} groups: update {:.2f} ms, with telemetry {:.2f} ms: {:+.2f} ms, {:.2f} of it writing\n",
                   bench.groups(), cost.without, cost.with, cost.with - cost.without, cost.writing);
    }
    return 0;
}
