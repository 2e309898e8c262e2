// A cluster's steps written out, for people and for programs.
#include <fmt/format.h>

#include "optim/plan_output.h"
#include "optim/text_table.h"

namespace strata::optim {

namespace {

std::string time_text(double seconds) {
    if (seconds >= 1) return fmt::format("{:.2f} s", seconds);
    return seconds >= 1e-3 ? fmt::format("{:.2f} ms", seconds * 1e3) : fmt::format("{:.1f} us", seconds * 1e6);
}

const char* shard_name(const ClusterStep& step) {
    return step.replicas > 1 ? "node" : "all";
}

}  // namespace

std::string cluster_table(const Cluster& cluster, const std::vector<ClusterStep>& steps) {
    TextTable table({{"shard", Align::left},
                     {"stage", Align::right},
                     {"overlap", Align::left},
                     {"forward", Align::right},
                     {"backward", Align::right},
                     {"reduce", Align::right},
                     {"exposed", Align::right},
                     {"update", Align::right},
                     {"gather", Align::right},
                     {"step", Align::right},
                     {"exposed share", Align::right},
                     {"memory", Align::right}});
    for (const ClusterStep& step : steps) {
        table.add_row({shard_name(step), fmt::format("{}", step.zero_stage), step.overlap ? "yes" : "no",
                       time_text(step.forward), time_text(step.backward), time_text(step.reduce),
                       time_text(step.exposed), time_text(step.update), time_text(step.gather), time_text(step.step()),
                       fmt::format("{:.1f} %", 100 * step.communication() / step.step()),
                       byte_text(step.memory.sum())});
    }
    return fmt::format(
        "\nA step on {} hosts of {} ranks, as the formulas have it; memory of a rank, activations apart\n\n{}",
        cluster.hosts, cluster.gpus, table.text());
}

nlohmann::json cluster_json(const Cluster& cluster, const std::vector<ClusterStep>& steps) {
    nlohmann::json out = nlohmann::json::array();
    for (const ClusterStep& step : steps) {
        out.push_back({{"shard", shard_name(step)},
                       {"zero_stage", step.zero_stage},
                       {"overlap", step.overlap},
                       {"forward", step.forward},
                       {"backward", step.backward},
                       {"reduce", step.reduce},
                       {"exposed", step.exposed},
                       {"update", step.update},
                       {"gather", step.gather},
                       {"step", step.step()},
                       {"memory_bytes", step.memory.sum()},
                       {"traffic",
                        {{"reduce_bytes", step.traffic.reduce_bytes},
                         {"gather_bytes", step.traffic.gather_bytes},
                         {"across_bytes", step.traffic.across_bytes}}}});
    }
    return {{"hosts", cluster.hosts},
            {"gpus", cluster.gpus},
            {"inside", cluster.inside},
            {"network", cluster.network},
            {"steps", std::move(out)}};
}

}  // namespace strata::optim
