#include "dist/shard_ranks.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "dist/agreement.h"

namespace strata::dist {
namespace {

struct Host {
    std::string name;
    int ranks = 0;
};

/// In the order of their first ranks. Every rank gets the same.
std::vector<Host> hosts_of(Communicator& world) {
    const auto places = world.all_gather_bytes(fmt::format("{} {}", world.local_size(), world.host()));
    std::vector<std::pair<Host, int>> found;  // and how many ranks it has by its own account
    for (const std::string& place : places) {
        const std::size_t space = place.find(' ');
        const std::string name = place.substr(space + 1);
        auto host = std::find_if(found.begin(), found.end(), [&](const auto& one) { return one.first.name == name; });
        if (host == found.end()) host = found.insert(host, {{name, 0}, std::stoi(place.substr(0, space))});
        ++host->first.ranks;
    }
    std::vector<Host> hosts;
    for (const auto& [host, ranks] : found) {
        if (host.ranks != ranks) {
            throw AgreedSystemError(fmt::format(
                "{} ranks say that they run on {}, and that it has {}: give hosts names of their own, or say "
                "--ranks_per_host",
                host.ranks, host.name, ranks));
        }
        hosts.push_back(host);
    }
    return hosts;
}

int copy_of(Communicator& world) {
    const auto hosts = hosts_of(world);
    const auto own = [&](const Host& host) { return host.name == world.host(); };
    return static_cast<int>(std::find_if(hosts.begin(), hosts.end(), own) - hosts.begin());
}

}  // namespace

int ranks_of_each_host(Communicator& world) {
    const std::vector<Host> hosts = hosts_of(world);
    const auto as_first = [&](const Host& host) { return host.ranks == hosts.front().ranks; };
    const auto other = std::find_if_not(hosts.begin(), hosts.end(), as_first);
    if (other != hosts.end()) {
        throw AgreedUserError(fmt::format(
            "--shard node needs equally many ranks on every host, but {} has {} and {} has {}: start as many on each, "
            "or say --shard all",
            hosts.front().name, hosts.front().ranks, other->name, other->ranks));
    }
    return hosts.front().ranks;
}

ShardRanks::ShardRanks(Communicator& world, int copy, int owner)
    : world_(&world), owners_(world.split(copy)), copies_(world.split(owner)) {
    if (copies_->size() > 1) return;
    owners_.reset();
    copies_.reset();
}

ShardRanks ShardRanks::by_host(Communicator& world) {
    ranks_of_each_host(world);
    return {world, copy_of(world), world.local_rank()};
}

ShardRanks ShardRanks::by_block(Communicator& world, int owners) {
    STRATA_CHECK(owners > 0 && world.size() % owners == 0, "{} ranks in blocks of {}", world.size(), owners);
    return {world, world.rank() / owners, world.rank() % owners};
}

std::vector<Communicator*> ShardRanks::all() const {
    if (!owners_) return {world_};
    return {world_, owners_.get(), copies_.get()};
}

TrafficCounters ShardRanks::traffic() const {
    TrafficCounters sum;
    for (const Communicator* communicator : all()) sum = sum + communicator->traffic();
    return sum;
}

}  // namespace strata::dist
