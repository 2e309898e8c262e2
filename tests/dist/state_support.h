// A made-up model whose every element is known by name, cut into groups and slices as a test wants.
#pragma once

#include <gtest/gtest.h>
#include <mpi.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "dist/state_file.h"

namespace strata::dist::testing {

struct TestParameter {
    std::string name;
    std::vector<std::int64_t> shape;

    std::int64_t elements() const {
        std::int64_t product = 1;
        for (const std::int64_t dimension : shape) product *= dimension;
        return product;
    }
};

/// A value that no other element has, nearly: a parameter read from the wrong place does not match.
inline float value_of(const std::string& name, StateKind kind, std::int64_t element) {
    const std::size_t seed = std::hash<std::string>{}(name) % 8191 + static_cast<std::size_t>(kind) * 8209;
    return static_cast<float>(seed) + static_cast<float>(element % 65521) / 65536.0F;
}

/// Contiguous slices that do not fall on any round number; the last ranks may have none.
inline std::pair<std::int64_t, std::int64_t> slice(std::int64_t elements, int rank, int size) {
    const std::int64_t stride = (elements + size - 1) / size + 3;
    return {std::min(rank * stride, elements), std::min((rank + 1) * stride, elements)};
}

/// State groups with memory of their own.
class OwnedState {
  public:
    using Kinds = std::vector<StateKind>;

    void add(const std::string& name, const std::vector<TestParameter>& parameters, int rank, int size,
             std::int64_t step = 7, const Kinds& kinds = {state_kinds.begin(), state_kinds.end()}) {
        StateGroup group;
        group.name = name;
        group.multiplier = 0.5;
        group.learning_rate = 1e-4;
        group.weight_decay = 0.01;
        group.beta1 = 0.9;
        group.beta2 = 0.999;
        group.epsilon = 1e-8;
        group.step = step;
        group.frozen = kinds.empty();
        for (const TestParameter& parameter : parameters) {
            group.members.push_back({parameter.name, parameter.shape, group.elements, parameter.elements(), true});
            group.elements += parameter.elements();
        }
        std::tie(group.begin, group.end) = slice(group.elements, rank, size);
        for (const StateKind kind : kinds) {
            buffers_.push_back(
                std::make_unique<std::vector<float>>(static_cast<std::size_t>(group.end - group.begin) + 1));
            pointer_of(group, kind) = buffers_.back()->data();
        }
        groups.push_back(std::move(group));
    }

    /// Calls visit(group, member, kind, element of the member, reference to it) for all own elements.
    template <typename Visit>
    void for_each(Visit&& visit) {
        for (StateGroup& group : groups) {
            for (const StateSegment& member : group.members) {
                for (const StateKind kind : state_kinds) {
                    float* own = pointer_of(group, kind);
                    if (own == nullptr) continue;
                    const std::int64_t begin = std::max(group.begin, member.offset);
                    const std::int64_t end = std::min(group.end, member.offset + member.elements);
                    for (std::int64_t at = begin; at < end; ++at) {
                        visit(group, member, kind, at - member.offset, own[at - group.begin]);
                    }
                }
            }
        }
    }

    void fill() {
        for_each([](const StateGroup&, const StateSegment& member, StateKind kind, std::int64_t element, float& value) {
            value = value_of(member.name, kind, element);
        });
    }

    void fill_with(float constant) {
        for_each(
            [&](const StateGroup&, const StateSegment&, StateKind, std::int64_t, float& value) { value = constant; });
    }

    /// Elements that are not what fill() would have put there.
    std::int64_t count_wrong() {
        std::int64_t wrong = 0;
        for_each([&](const StateGroup&, const StateSegment& member, StateKind kind, std::int64_t element,
                     float& value) { wrong += value != value_of(member.name, kind, element); });
        return wrong;
    }

    std::vector<StateGroup> groups;

  private:
    std::vector<std::unique_ptr<std::vector<float>>> buffers_;
};

inline TrainHeader test_header(std::int64_t step, int world_size) {
    TrainHeader header;
    header.step = step;
    header.epoch = 1.25;
    header.world_size = world_size;
    header.stage = "train";
    header.plan_hash = 0xfedcba9876543210U;
    header.update_hash = 42;
    header.effective_config = "learning_rate = 2e-5\n# größer\n" + std::string(100'000, '#');
    header.provenance = R"({"strata": "0.1.0"})";
    header.train = R"({"sampler": {"epoch": 1, "step": 250}})";
    header.model_fingerprint = "bert-384-6";
    return header;
}

/// A folder that all ranks of `communicator` share, gone when the last of them is done.
class SharedFolder {
  public:
    explicit SharedFolder(MPI_Comm communicator) : communicator_(communicator) {
        std::string name = (std::filesystem::temp_directory_path() / "strata-test-XXXXXX").string();
        MPI_Comm_rank(communicator, &rank_);
        if (rank_ == 0 && ::mkdtemp(name.data()) == nullptr) std::abort();
        MPI_Bcast(name.data(), static_cast<int>(name.size()), MPI_CHAR, 0, communicator);
        path_ = name;
    }
    ~SharedFolder() {
        MPI_Barrier(communicator_);
        std::error_code ignored;
        if (rank_ == 0) std::filesystem::remove_all(path_, ignored);
    }
    SharedFolder(const SharedFolder&) = delete;
    SharedFolder& operator=(const SharedFolder&) = delete;

    const std::filesystem::path& path() const { return path_; }

  private:
    MPI_Comm communicator_;
    int rank_ = 0;
    std::filesystem::path path_;
};

/// The first `size` ranks of the world as a communicator of their own; null on the others.
inline std::unique_ptr<MpiCommunicator> first_ranks(int size) {
    int rank = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm part = MPI_COMM_NULL;
    MPI_Comm_split(MPI_COMM_WORLD, rank < size ? 0 : MPI_UNDEFINED, rank, &part);
    if (part == MPI_COMM_NULL) return nullptr;
    auto communicator = std::make_unique<MpiCommunicator>(part);
    MPI_Comm_free(&part);
    return communicator;
}

}  // namespace strata::dist::testing
