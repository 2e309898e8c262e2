#include "optim/cluster.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <functional>

#include "core/error.h"
#include "core/nearest.h"

namespace strata::optim {

namespace {

constexpr double bucket_bytes = 4 << 20;   // as dist/zero_optimizer.h has them
constexpr double gather_piece = 16 << 20;  // likewise
constexpr double flops_forward = 2;        // of an element of a matrix, for each token
constexpr double flops_backward = 4;       // of one that learns; half of it passes the gradient on

struct Key {
    const char* name;
    std::function<void(Cluster&, double)> set;
    bool whole = false;
};

const std::vector<Key>& keys() {
    static const std::vector<Key> all = {
        {"hosts", [](Cluster& c, double v) { c.hosts = static_cast<int>(v); }, true},
        {"gpus", [](Cluster& c, double v) { c.gpus = static_cast<int>(v); }, true},
        {"nvlink", [](Cluster& c, double v) { c.inside = v * 1e9; }},
        {"network", [](Cluster& c, double v) { c.network = v * 1e9; }},
        {"tflops", [](Cluster& c, double v) { c.flops = v * 1e12; }},
        {"memory", [](Cluster& c, double v) { c.memory = v * 1e9; }},
        {"latency", [](Cluster& c, double v) { c.latency = v * 1e-6; }},
        {"forward", [](Cluster& c, double v) { c.forward = v; }},
        {"backward", [](Cluster& c, double v) { c.backward = v; }},
        {"update", [](Cluster& c, double v) { c.update = v; }},
    };
    return all;
}

void set_key(Cluster& cluster, std::string_view item) {
    const std::size_t equals = item.find('=');
    if (equals == std::string_view::npos) user_error("--cluster: '{}' is no name=number", item);
    std::vector<std::string> names;
    for (const Key& key : keys()) names.emplace_back(key.name);
    const Key& key = keys()[index_of_name("key of --cluster", item.substr(0, equals), names)];
    const std::string_view text = item.substr(equals + 1);
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool number = error == std::errc() && end == text.data() + text.size() && std::isfinite(value) && value > 0;
    if (!number) user_error("--cluster: {} is '{}'; it must be a number above 0", key.name, text);
    if (key.whole && (value != std::floor(value) || value > 1e6)) {
        user_error("--cluster: {} is {}; it must be a whole number, at most a million", key.name, text);
    }
    key.set(cluster, value);
}

/// Elements whose products cost something for each token. An embedding is looked up.
double product_elements(const Group& group) {
    double elements = 0;
    for (const Segment& segment : group.segments) {
        const bool looked_up = segment.name.find("embedding") != std::string::npos;
        if (segment.shape.size() >= 2 && !looked_up) elements += static_cast<double>(segment.elements);
    }
    return elements;
}

/// What a group's backward pass costs; nothing below the lowest group that learns.
std::vector<double> backward_costs(const Plan& plan, std::int64_t step) {
    std::vector<double> costs(plan.groups.size(), 0.0);
    bool needed = false;
    for (std::size_t g = 0; g < plan.groups.size(); ++g) {
        const bool learns = plan.trainable(g, step);
        needed = needed || learns;
        if (needed) costs[g] = product_elements(plan.groups[g]) * flops_backward * (learns ? 1.0 : 0.5);
    }
    return costs;
}

/// Of an element: AdamW reads the gradient, weight and moments and writes the latter three, and beside a master the
/// weight in 16 bits.
double update_bytes(const Plan& plan) {
    const ComputeType gradient = plan.keeps_sums() ? ComputeType::fp32 : plan.gradient_type();
    const std::int64_t weight =
        plan.keeps_masters() ? 2 * bytes_of(ComputeType::fp32) + bytes_of(plan.compute) : 2 * bytes_of(plan.compute);
    return static_cast<double>(4 * bytes_of(ComputeType::fp32) + weight + bytes_of(gradient));
}

struct Bucket {
    double bytes = 0;
    double ready = 0;  ///< share of the backward pass that is over when it is complete
};

/// Live gradients, the head's side first, in buckets of equal bytes.
std::vector<Bucket> buckets_of(const Plan& plan, std::int64_t step) {
    const std::vector<double> costs = backward_costs(plan, step);
    double total = 0;
    for (const double cost : costs) total += cost;
    std::vector<Bucket> buckets;
    double done = 0;
    for (std::size_t g = plan.groups.size(); g-- > 0;) {
        done += costs[g];
        if (!plan.trainable(g, step)) continue;
        double bytes = static_cast<double>(plan.padded_elements(g) * bytes_of(plan.gradient_type()));
        while (bytes > 0) {
            if (buckets.empty() || buckets.back().bytes >= bucket_bytes) buckets.emplace_back();
            Bucket& bucket = buckets.back();
            const double piece = std::min(bytes, bucket_bytes - bucket.bytes);
            bucket.bytes += piece;
            bucket.ready = total > 0 ? done / total : 1.0;
            bytes -= piece;
        }
    }
    return buckets;
}

double around(double bytes, int ranks) {
    return bytes * (ranks - 1) / ranks;
}

/// Seconds of a bucket on the first link that it takes, and on the network between copies.
struct Links {
    const Cluster& cluster;
    bool copies;

    double ring() const {
        if (cluster.hosts == 1) return cluster.inside;
        return cluster.gpus == 1 ? cluster.network : std::min(cluster.inside, cluster.network);
    }
    double first(double bytes) const {
        const int ranks = copies ? cluster.gpus : cluster.ranks();
        if (ranks == 1) return 0;
        return around(bytes, ranks) / (copies ? cluster.inside : ring()) + cluster.latency;
    }
    double across(double bytes) const {
        return copies ? 2 * around(bytes, cluster.hosts) / cluster.network + cluster.latency : 0;
    }
};

struct Reduction {
    double busy = 0;
    double exposed = 0;
};

/// `widening`: sums' bytes for each byte of gradients.
Reduction reduce(const std::vector<Bucket>& buckets, const Links& links, double backward, bool overlap, bool crosses,
                 double widening) {
    double first_free = 0, across_free = 0, first_busy = 0, across_busy = 0;
    for (const Bucket& bucket : buckets) {
        const double ready = overlap ? bucket.ready * backward : backward;
        const double takes = links.first(bucket.bytes);
        first_free = std::max(first_free, ready) + takes;
        first_busy += takes;
        if (!crosses) continue;
        const double then = links.across(widening * bucket.bytes);
        across_free = std::max(across_free, first_free) + then;
        across_busy += then;
    }
    // The links work side by side, so the busier one is what there is to hide.
    return {std::max(first_busy, across_busy), std::max(0.0, std::max(first_free, across_free) - backward)};
}

/// Until the first `bytes` of a gather are there, which leave in pieces.
double gathered(double bytes, const Links& links) {
    if (bytes == 0) return 0;
    const double further = std::ceil(bytes / gather_piece) - 1;
    return links.first(bytes) + further * links.cluster.latency;
}

/// What a gather adds to the forward pass that begins with it: groups come from the input's side on, and each waits for
/// the pieces that it is in.
double exposed_gather(const Plan& plan, std::int64_t step, const Links& links, double forward, double bytes) {
    double total = 0;
    for (const Group& group : plan.groups) total += product_elements(group);
    double sent = 0, time = 0;
    for (std::size_t g = 0; g < plan.groups.size(); ++g) {
        if (plan.trainable(g, step)) {
            sent += static_cast<double>(plan.padded_elements(g) * bytes_of(plan.compute));
            time = std::max(time, gathered(std::min(bytes, std::ceil(sent / gather_piece) * gather_piece), links));
        }
        if (total > 0) time += forward * product_elements(plan.groups[g]) / total;
    }
    return std::max(0.0, time - forward);
}

std::int64_t step_that_learns_most(const Plan& plan) {
    std::int64_t best = 0;
    for (const Stage& stage : plan.stages) {
        const auto bytes = [&](std::int64_t step) { return traffic_per_step(plan, step).gather_bytes; };
        if (bytes(stage.first_step) > bytes(best)) best = stage.first_step;
    }
    return best;
}

struct Compute {
    double forward = 0;   // of a micro-batch
    double backward = 0;  // of a micro-batch
};

Compute compute_of(const Plan& plan, const Cluster& cluster, std::optional<std::int64_t> tokens, std::int64_t step) {
    if ((!cluster.forward || !cluster.backward) && !tokens) {
        user_error(
            "--cluster: how long a micro-batch takes is not known without --model_name_or_path; give it in seconds: "
            "forward=...,backward=...");
    }
    const auto count = static_cast<double>(tokens.value_or(0));
    double forward = 0, backward = 0;
    for (const Group& group : plan.groups) forward += flops_forward * product_elements(group);
    for (const double cost : backward_costs(plan, step)) backward += cost;
    return {cluster.forward.value_or(forward * count / cluster.flops),
            cluster.backward.value_or(backward * count / cluster.flops)};
}

ClusterStep predict_one(const Plan& plan, const Cluster& cluster, const Compute& compute, std::int64_t step,
                        bool overlap) {
    const Links links{cluster, plan.replicas > 1};
    const std::vector<Bucket> buckets = buckets_of(plan, step);
    ClusterStep made;
    made.zero_stage = plan.zero_stage;
    made.replicas = plan.replicas;
    made.overlap = overlap;
    made.forward = compute.forward * plan.micro_batches;
    made.backward = compute.backward * plan.micro_batches;
    const auto size = static_cast<double>(bytes_of(plan.gradient_type()));
    const double widening = static_cast<double>(bytes_of(ComputeType::fp32)) / size;
    const int turns = plan.zero_stage == 1 ? 1 : plan.micro_batches;
    for (int turn = 0; turn < turns; ++turn) {
        const auto [busy, exposed] = reduce(buckets, links, compute.backward, overlap, turn + 1 == turns, widening);
        made.reduce += busy;
        made.exposed += exposed;
    }
    double elements = 0;
    for (const Bucket& bucket : buckets) elements += bucket.bytes / size;
    const double bytes = elements * static_cast<double>(bytes_of(plan.compute));
    made.gather = overlap ? exposed_gather(plan, step, links, compute.forward, bytes) : gathered(bytes, links);
    made.update =
        cluster.update.value_or(elements / plan.owners() * update_bytes(plan) / cluster.memory + cluster.latency);
    made.memory = memory_per_rank(plan, 0, step);
    made.traffic = traffic_per_step(plan, step);
    return made;
}

}  // namespace

Cluster parse_cluster(std::string_view text) {
    Cluster cluster;
    for (std::size_t begin = 0; begin <= text.size();) {
        const std::size_t end = std::min(text.find(',', begin), text.size());
        set_key(cluster, text.substr(begin, end - begin));
        begin = end + 1;
    }
    if (cluster.gpus > 1 && cluster.inside == 0)
        user_error("--cluster: nvlink is missing, GB/s between ranks of a host");
    if (cluster.hosts > 1 && cluster.network == 0) user_error("--cluster: network is missing, GB/s of each host");
    return cluster;
}

std::vector<ClusterStep> predict(const Plan& plan, const Cluster& cluster, std::optional<std::int64_t> tokens) {
    STRATA_CHECK(plan.world_size == cluster.ranks(), "a plan for {} ranks on {}", plan.world_size, cluster.ranks());
    const std::int64_t step = step_that_learns_most(plan);
    const Compute compute = compute_of(plan, cluster, tokens, step);
    std::vector<ClusterStep> steps;
    for (const int replicas : {1, cluster.hosts}) {
        if (replicas > 1 && cluster.gpus == 1) continue;  // nothing would be shared
        if (replicas == 1 && !steps.empty()) continue;    // one host
        for (const int stage : {1, 2}) {
            Plan way = plan;
            way.replicas = replicas;
            way.zero_stage = stage;
            for (const bool overlap : {true, false}) {
                steps.push_back(predict_one(way, cluster, compute, step, overlap));
            }
        }
    }
    return steps;
}

}  // namespace strata::optim
