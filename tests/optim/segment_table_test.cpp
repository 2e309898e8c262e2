#include "optim/segment_table.h"

#include "bert_manifest.h"
#include "optim/mix.h"
#include "optim/shard.h"

#include <gtest/gtest.h>

#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace strata::optim {
namespace {

using testing::bert_manifest;

TEST(Shard, SlicesCoverTheContentOnceInWholeStrides) {
    for (const std::int64_t elements : {1, 2, 63, 64, 65, 127, 128, 129, 997, 4096, 100'003}) {
        for (const int ranks : {1, 2, 3, 4, 7, 64, 130}) {
            const std::int64_t stride = slice_stride(elements, ranks);
            EXPECT_EQ(stride % slice_alignment, 0);
            EXPECT_GE(stride * ranks, elements);
            EXPECT_LT(stride - slice_alignment, (elements + ranks - 1) / ranks);  // no more padding than it takes
            EXPECT_EQ(padded_elements(elements, ranks), stride * ranks);
            std::int64_t at = 0;
            for (int rank = 0; rank < ranks; ++rank) {
                const Slice slice = slice_of(elements, rank, ranks);
                EXPECT_EQ(slice.begin, at);
                EXPECT_LE(slice.size(), stride);
                EXPECT_TRUE(slice.size() == 0 || slice.begin == rank * stride);
                at = slice.end;
            }
            EXPECT_EQ(at, elements);
        }
    }
}

Plan plan_of(const Manifest& manifest, int ranks, PolicyKind kind = PolicyKind::single) {
    PlanConfig config;
    config.policy.kind = kind;
    config.world_size = ranks;
    config.optimizer.weight_decay = 0.1;
    return make_plan(manifest, config);
}

/// One rank's buffers: whole groups for parameters and gradients, slices for the moments.
struct Memory {
    explicit Memory(const Plan& plan, int rank) {
        for (const Group& group : plan.groups) {
            const auto padded = static_cast<std::size_t>(padded_elements(group.elements, plan.world_size));
            const Slice slice = slice_of(group.elements, rank, plan.world_size);
            param.emplace_back(padded);
            grad.emplace_back(padded);
            first.emplace_back(static_cast<std::size_t>(slice.size()));
            second.emplace_back(static_cast<std::size_t>(slice.size()));
            buffers.push_back({param.back().data() + slice.begin, grad.back().data() + slice.begin, first.back().data(),
                               second.back().data()});
        }
    }
    std::vector<std::vector<float>> param, grad, first, second;
    std::vector<SliceBuffers> buffers;
};

/// Every element of every slice in exactly one span, with its own segment's answer to decay, moments alongside.
void expect_exact_cover(const Plan& plan) {
    for (int rank = 0; rank < plan.world_size; ++rank) {
        const Memory memory(plan, rank);
        const auto spans = build_spans(plan, rank, std::vector<bool>(plan.groups.size(), true), memory.buffers);
        std::size_t s = 0;
        for (std::size_t g = 0; g < plan.groups.size(); ++g) {
            const Slice slice = slice_of(plan.groups[g].elements, rank, plan.world_size);
            std::int64_t at = slice.begin;
            for (; s < spans.size() && spans[s].group == static_cast<std::int32_t>(g); ++s) {
                const UpdateSpan& span = spans[s];
                EXPECT_GT(span.elements, 0);
                EXPECT_EQ(span.param, memory.param[g].data() + at);
                EXPECT_EQ(span.grad, memory.grad[g].data() + at);
                EXPECT_EQ(span.exp_avg, memory.first[g].data() + (at - slice.begin));
                EXPECT_EQ(span.exp_avg_sq, memory.second[g].data() + (at - slice.begin));
                for (const Segment& segment : plan.groups[g].segments) {
                    const bool apart = segment.offset + segment.elements <= at || segment.offset >= at + span.elements;
                    EXPECT_TRUE(apart || segment.decays == span.decays) << segment.name;
                }
                at += span.elements;
            }
            EXPECT_EQ(at, slice.end) << "group " << g << " rank " << rank;
        }
        EXPECT_EQ(s, spans.size());
    }
}

TEST(BuildSpans, CutsAtSliceBordersWhateverTheSizes) {
    const Manifest primes{{"a.weight", {101}}, {"a.bias", {7}},         {"b.weight", {13, 17}}, {"b.bias", {1}},
                          {"c.bias", {3}},     {"norm.weight", {1009}}, {"d.weight", {2}}};
    for (const int ranks : {1, 2, 3, 4, 7, 11}) expect_exact_cover(plan_of(primes, ranks));
    // A group of two elements on eleven ranks: ten of them own nothing of it.
    for (const int ranks : {1, 2, 5, 11}) {
        expect_exact_cover(
            plan_of(bert_manifest({.layers = 2, .hidden = 7, .intermediate = 13, .vocabulary = 31, .labels = 3}), ranks,
                    PolicyKind::layer_decay));
    }
}

TEST(BuildSpans, MergesNeighboursThatDecayAlike) {
    const Manifest manifest{
        {"a.weight", {10}}, {"b.weight", {20}}, {"b.bias", {5}}, {"norm.weight", {6}}, {"c.weight", {7}}};
    const Plan plan = plan_of(manifest, 1);
    const Memory memory(plan, 0);
    const auto spans = build_spans(plan, 0, {true}, memory.buffers);
    ASSERT_EQ(spans.size(), 3U);
    EXPECT_EQ(spans[0].elements, 30);
    EXPECT_EQ(spans[1].elements, 11);
    EXPECT_EQ(spans[2].elements, 7);
    EXPECT_TRUE(spans[0].decays);
    EXPECT_FALSE(spans[1].decays);
}

TEST(BuildSpans, NeverMergesAcrossGroupsAndLeavesFrozenOnesOut) {
    const Manifest manifest = bert_manifest({.layers = 2, .hidden = 8});
    const Plan plan = plan_of(manifest, 1, PolicyKind::layer_decay);
    const Memory memory(plan, 0);
    for (const UpdateSpan& span : build_spans(plan, 0, {false, true, false, true}, memory.buffers)) {
        EXPECT_TRUE(span.group == 1 || span.group == 3);
    }
    EXPECT_TRUE(build_spans(plan, 0, {false, false, false, false}, memory.buffers).empty());
}

/// By parameter and element: which of its numbers rounds it. Weights lie group after group in `memory`, which is bf16.
std::map<std::pair<std::string, std::int64_t>, std::pair<std::uint64_t, std::int64_t>> rounding_places(Plan plan) {
    plan.compute = ComputeType::bf16;
    plan.rounding_seed = 1;
    std::map<std::pair<std::string, std::int64_t>, std::pair<std::uint64_t, std::int64_t>> places;
    std::vector<std::uint16_t> memory(static_cast<std::size_t>(plan.elements()));
    for (int rank = 0; rank < plan.world_size; ++rank) {
        std::vector<SliceBuffers> buffers(plan.groups.size());
        std::vector<std::pair<std::string, std::int64_t>> names;  // of memory's elements
        for (std::size_t g = 0; g < plan.groups.size(); ++g) {
            buffers[g].rounded = memory.data() + names.size() + plan.slice(g, rank).begin;
            for (const Segment& segment : plan.groups[g].segments) {
                for (std::int64_t i = 0; i < segment.elements; ++i) names.emplace_back(segment.name, i);
            }
        }
        for (const auto& span : build_spans(plan, rank, std::vector<bool>(plan.groups.size(), true), buffers)) {
            EXPECT_EQ(span.param, nullptr);
            for (std::int64_t i = 0; i < span.elements; ++i) {
                const auto& name = names[static_cast<std::size_t>(span.rounded - memory.data() + i)];
                EXPECT_TRUE(places.emplace(name, std::pair{span.parameter, span.first + i}).second) << name.first;
            }
        }
    }
    return places;
}

TEST(BuildSpans, StochasticRoundingKnowsParametersAndNeitherGroupsNorRanks) {
    const Manifest manifest = bert_manifest({.layers = 2, .hidden = 8, .vocabulary = 40});
    const auto one = rounding_places(plan_of(manifest, 1));
    ASSERT_EQ(std::ssize(one), plan_of(manifest, 1).elements());
    for (const auto& [name, place] : one) EXPECT_EQ(place, std::pair(name_key(name.first), name.second));
    for (const int ranks : {1, 2, 3, 7}) {
        EXPECT_EQ(rounding_places(plan_of(manifest, ranks, PolicyKind::layer_decay)), one) << ranks << " ranks";
    }
    Plan lamb = plan_of(manifest, 3, PolicyKind::layer_decay);
    lamb.optimizer.kind = OptimizerKind::lamb;
    lamb.deterministic = true;
    EXPECT_EQ(rounding_places(lamb), one);
}

TEST(BuildSpans, RefusesRanksAndTablesThatDoNotFit) {
    const Plan plan = plan_of({{"a.weight", {100}}}, 2);
    const std::vector<SliceBuffers> buffers(1);
    EXPECT_NO_THROW(build_spans(plan, 1, {true}, buffers));
    EXPECT_THROW(build_spans(plan, 2, {true}, buffers), std::logic_error);
    EXPECT_THROW(build_spans(plan, -1, {true}, buffers), std::logic_error);
    EXPECT_THROW(build_spans(plan, 0, {true, true}, buffers), std::logic_error);
    EXPECT_THROW(build_spans(plan, 0, {true}, {}), std::logic_error);
}

TEST(BuildSpans, MissingMomentsStayMissing) {
    const Plan plan = plan_of({{"a.weight", {100}}, {"a.bias", {10}}}, 1);
    std::vector<float> memory(110);
    const std::vector<SliceBuffers> buffers{{memory.data(), memory.data(), nullptr, nullptr}};
    for (const UpdateSpan& span : build_spans(plan, 0, {true}, buffers)) {
        EXPECT_EQ(span.exp_avg, nullptr);
        EXPECT_EQ(span.exp_avg_sq, nullptr);
    }
}

}  // namespace
}  // namespace strata::optim
