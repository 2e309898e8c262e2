// What a step takes on a cluster that is not there yet: time of its parts, what of the communication shows, memory.
//
// Compute is measured (forward, backward, update seconds of a rank) or estimated from rates. Communication is bytes by
// the ring formulas (dist/communicator.h; nccl-tests, doc/PERFORMANCE.md) over links:
//
//   all    N ranks make one ring. Where it leaves hosts, it is as fast as the slower of the link inside and the host's
//          network: a bucket of b bytes is reduced in b(N-1)/N / min(inside, network), and gathered in the same.
//   node   L ranks of a host reduce b in b(L-1)/L / inside; then the host's owners add their b/L each to those of the H
//          hosts, all through the host's network: 2b(H-1)/H / network. Gathers take b(L-1)/L / inside.
//
// b is of the type that gradients leave in, between hosts fp32, and in gathers the type that the network computes in.
//
// Gradients come from the head down, a group's share of the backward pass being that of its matrix products (embeddings
// are looked up, and cost none). A bucket (4 MiB of groups in that order) leaves when its last group is complete and
// the link is free; between hosts buckets follow one another as well. What ends after the backward pass is exposed;
// with overlap off all leave at its end. Gathers begin after the update; each group of the next forward pass waits for
// its own, from the input's side on, and with overlap off all are waited for. Under stage 2 reductions are those of
// each micro-batch. A collective takes `latency` besides.
//
// Direct exchange over MPI sends as much where a host has one rank; with more it sends across L times as much for `all`
// when it reduces, since nothing is added up on the way. Activations' traffic, the input and telemetry are not in it.
//
// Units: seconds, bytes, bytes per second.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "optim/plan.h"

namespace strata::optim {

struct Cluster {
    int hosts = 1;
    int gpus = 1;           ///< ranks on each host
    double inside = 0;      ///< of a rank to its neighbours in the host
    double network = 0;     ///< of a host, to the others
    double flops = 400e12;  ///< that a rank reaches in matrix products: 40 % of an H100's 989e12 in bf16
    double memory = 3e12;   ///< that a rank's update reaches: 90 % of an H100's 3.35e12
    double latency = 2e-5;  ///< of a collective
    std::optional<double> forward, backward, update;  ///< of a rank's micro-batch; of its slices: in place of rates

    int ranks() const { return hosts * gpus; }
};

/// "hosts=32,gpus=8,nvlink=370,network=45", GB/s, and what else has defaults: tflops, memory (GB/s), latency (µs),
/// forward, backward, update (s). UserError for anything else.
Cluster parse_cluster(std::string_view text);

struct ClusterStep {
    int zero_stage = 1;
    int replicas = 1;  ///< 1: all ranks share one state; else a copy on each host
    bool overlap = true;
    double forward = 0;   ///< of all micro-batches
    double backward = 0;  ///< likewise
    double reduce = 0;    ///< that the links are busy with gradients
    double exposed = 0;   ///< of the reductions, after the backward pass
    double update = 0;
    double gather = 0;  ///< that the next forward pass waits for
    RankMemory memory;  ///< of the first owner, which has most
    StepTraffic traffic;

    double step() const { return forward + backward + exposed + update + gather; }
    double communication() const { return exposed + gather; }
};

/// The step of every way to share out: `all` and `node` (where there are several hosts and ranks on each), stages 1 and
/// 2, overlap on and off. `plan` is for the cluster's ranks; its own way of sharing does not matter. `tokens`: of a
/// rank's micro-batch; needed unless forward and backward are given (UserError). At the step that learns most.
std::vector<ClusterStep> predict(const Plan& plan, const Cluster& cluster, std::optional<std::int64_t> tokens);

}  // namespace strata::optim
