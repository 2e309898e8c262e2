// state.h5 written by any number of ranks in any grouping, read by any other.
#include "dist/state_file.h"

#include <fstream>

#include "core/error.h"
#include "dist/state_format.h"
#include "dist/state_load.h"
#include "tests/dist/state_support.h"

namespace strata::dist::testing {
namespace {

// Large enough for several checksum blocks, small enough for four ranks on two cores.
const std::vector<TestParameter> embeddings{{"embeddings.word", {3000, 700}}, {"embeddings.norm", {700}}};
const std::vector<TestParameter> layer_0{{"layer.0.weight", {311, 97}}, {"layer.0.bias", {97}}};
const std::vector<TestParameter> layer_1{{"layer.1.weight", {311, 97}}, {"layer.1.bias", {97}}};
const std::vector<TestParameter> scale{{"scale", {}}};
const std::vector<TestParameter> head{{"classifier.weight", {2, 97}}, {"classifier.bias", {2}}};

std::vector<TestParameter> joined(std::initializer_list<std::vector<TestParameter>> parts) {
    std::vector<TestParameter> all;
    for (const auto& part : parts) all.insert(all.end(), part.begin(), part.end());
    return all;
}

OwnedState five_groups(const Communicator& ranks) {
    OwnedState state;
    state.add("embeddings", embeddings, ranks.rank(), ranks.size());
    state.add("layer_0", layer_0, ranks.rank(), ranks.size());
    state.add("layer_1", layer_1, ranks.rank(), ranks.size());
    state.add("odd/name%.", scale, ranks.rank(), ranks.size());
    state.add("head", head, ranks.rank(), ranks.size());
    return state;
}

/// One group, in another order of parameters.
OwnedState one_group(const Communicator& ranks) {
    OwnedState state;
    state.add("all", joined({head, layer_1, embeddings, scale, layer_0}), ranks.rank(), ranks.size());
    return state;
}

class StateFileTest : public ::testing::Test {
  protected:
    SharedFolder folder_{MPI_COMM_WORLD};
    MpiCommunicator world_{MPI_COMM_WORLD};
    std::filesystem::path path_ = folder_.path() / "state.h5";

    void write(MpiCommunicator& ranks, OwnedState state, const StateWriteOptions& options = {}) {
        state.fill();
        write_state_file(ranks, path_, test_header(12, ranks.size()), state.groups, options);
    }
};

using Maker = OwnedState (*)(const Communicator&);

TEST_F(StateFileTest, AnyNumberOfRanksReadsWhatAnyOtherWroteInAnyGrouping) {
    for (int writers = 1; writers <= world_.size(); ++writers) {
        for (const auto& [write_as, read_as] :
             {std::pair<Maker, Maker>{five_groups, five_groups}, {five_groups, one_group}, {one_group, five_groups}}) {
            if (const auto ranks = first_ranks(writers)) write(*ranks, write_as(*ranks));
            world_.barrier();
            for (int readers = 1; readers <= world_.size(); ++readers) {
                if (const auto ranks = first_ranks(readers)) {
                    OwnedState state = read_as(*ranks);
                    state.fill_with(-1.0F);
                    for (StateGroup& group : state.groups) group.step = 0;
                    const StateFile file(path_);
                    const StateLoadReport report = load_group_slices(*ranks, file, state.groups);
                    EXPECT_EQ(state.count_wrong(), 0) << writers << " ranks wrote, " << readers << " read";
                    EXPECT_EQ(report.carried.size(), 9U);
                    EXPECT_TRUE(report.started_fresh.empty() && report.ignored.empty() && report.mixed_steps.empty());
                    for (const StateGroup& group : state.groups) EXPECT_EQ(group.step, 7) << group.name;
                }
                world_.barrier();
            }
        }
    }
}

TEST_F(StateFileTest, KeepsEverythingThatIsNotBulk) {
    OwnedState state = five_groups(world_);
    state.groups[1].members[1].decays = false;
    write_state_file(world_, path_, test_header(12, world_.size()), state.groups);
    const StateFile file(path_);
    const TrainHeader expected = test_header(12, world_.size());
    EXPECT_EQ(file.header().step, expected.step);
    EXPECT_EQ(file.header().epoch, expected.epoch);
    EXPECT_EQ(file.header().world_size, expected.world_size);
    EXPECT_EQ(file.header().stage, expected.stage);
    EXPECT_EQ(file.header().plan_hash, expected.plan_hash);
    EXPECT_EQ(file.header().update_hash, expected.update_hash);
    EXPECT_EQ(file.header().effective_config, expected.effective_config);
    EXPECT_EQ(file.header().provenance, expected.provenance);
    EXPECT_EQ(file.header().train, expected.train);
    EXPECT_EQ(file.header().model_fingerprint, expected.model_fingerprint);
    ASSERT_EQ(file.groups().size(), state.groups.size());
    for (std::size_t i = 0; i < state.groups.size(); ++i) {
        const StateGroup& read = file.groups()[i].group;
        const StateGroup& written = state.groups[i];
        EXPECT_EQ(read.name, written.name);
        EXPECT_EQ(read.elements, written.elements);
        EXPECT_EQ(read.multiplier, written.multiplier);
        EXPECT_EQ(read.learning_rate, written.learning_rate);
        EXPECT_EQ(read.weight_decay, written.weight_decay);
        EXPECT_EQ(read.beta1, written.beta1);
        EXPECT_EQ(read.beta2, written.beta2);
        EXPECT_EQ(read.epsilon, written.epsilon);
        EXPECT_EQ(read.step, written.step);
        EXPECT_EQ(read.frozen, written.frozen);
        ASSERT_EQ(read.members.size(), written.members.size());
        for (std::size_t j = 0; j < read.members.size(); ++j) {
            EXPECT_EQ(read.members[j].name, written.members[j].name);
            EXPECT_EQ(read.members[j].shape, written.members[j].shape);
            EXPECT_EQ(read.members[j].offset, written.members[j].offset);
            EXPECT_EQ(read.members[j].decays, written.members[j].decays);
        }
    }
}

TEST_F(StateFileTest, TheDatasetsShowNoTraceOfTheNumberOfRanks) {
    const auto raw_bytes = [&] {
        const StateFile file(path_);
        std::string all;
        std::ifstream stream(path_, std::ios::binary);
        for (const StateFile::Extent& extent : file.extents()) {
            if (!extent.in_checksums) continue;
            std::string bytes(extent.bytes, '\0');
            stream.seekg(static_cast<std::streamoff>(extent.offset));
            stream.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
            all += extent.dataset + bytes;
        }
        return all;
    };
    if (const auto one = first_ranks(1)) write(*one, five_groups(*one));
    world_.barrier();
    const std::string by_one = raw_bytes();
    world_.barrier();
    write(world_, five_groups(world_));
    EXPECT_TRUE(by_one == raw_bytes());
}

TEST_F(StateFileTest, LargeSlicesGoInSeveralWrites) {
    StateWriteOptions options;
    options.elements_per_write = 10'007;
    write(world_, five_groups(world_), options);
    OwnedState state = five_groups(world_);
    load_group_slices(world_, StateFile(path_), state.groups);
    EXPECT_EQ(state.count_wrong(), 0);
    EXPECT_TRUE(StateFile(path_).verify().empty());
}

TEST_F(StateFileTest, TheSizeIsToldBeforehandCloselyAndNeverTooSmall) {
    OwnedState state = five_groups(world_);
    const std::uint64_t told = state_file_bytes(world_, test_header(12, world_.size()), state.groups);
    write(world_, five_groups(world_));
    const std::uint64_t taken = std::filesystem::file_size(path_);
    EXPECT_LE(taken, told);
    EXPECT_LE(told, taken + taken / 10 + 100'000);
}

TEST_F(StateFileTest, ListsByNameWhatCannotBeCarried) {
    const int rank = world_.rank();
    const int size = world_.size();
    OwnedState written;
    written.add("embeddings", embeddings, rank, size, 30);
    written.add("frozen", layer_0, rank, size, 0, {});
    written.add("without_moments", scale, rank, size, 20, {StateKind::master});
    written.add("head", head, rank, size, 10);
    write(world_, std::move(written));

    const std::vector<TestParameter> added{{"new.weight", {5, 3}}};
    OwnedState read;
    read.add("mixed", joined({embeddings, added, {head[0]}}), rank, size, 99);
    read.add("thawed", layer_0, rank, size, 99);
    read.add("scale", scale, rank, size, 99);
    read.fill_with(-1.0F);
    const StateLoadReport report = load_group_slices(world_, StateFile(path_), read.groups);

    EXPECT_EQ(report.carried, (std::vector<std::string>{"embeddings.word", "embeddings.norm", "classifier.weight"}));
    ASSERT_EQ(report.started_fresh.size(), 4U);
    EXPECT_EQ(report.started_fresh[0].name, "new.weight");
    EXPECT_EQ(report.started_fresh[1].name, "layer.0.weight");
    EXPECT_EQ(report.started_fresh[2].name, "layer.0.bias");
    EXPECT_EQ(report.started_fresh[3].name, "scale");
    ASSERT_EQ(report.ignored.size(), 1U);
    EXPECT_EQ(report.ignored[0].name, "classifier.bias");
    ASSERT_EQ(report.mixed_steps.size(), 1U);
    EXPECT_EQ(report.mixed_steps[0].name, "mixed");
    EXPECT_NE(report.mixed_steps[0].reason.find("10 in head; 30 in embeddings"), std::string::npos);

    EXPECT_EQ(read.groups[0].step, 30);
    EXPECT_EQ(read.groups[1].step, 0);
    EXPECT_EQ(read.groups[2].step, 0);
    read.for_each([](const StateGroup&, const StateSegment& member, StateKind kind, std::int64_t element, float value) {
        const bool in_file = member.name != "new.weight" && !member.name.starts_with("layer.0");
        float expected = kind == StateKind::master ? -1.0F : 0.0F;
        if (in_file && (member.name != "scale" || kind == StateKind::master))
            expected = value_of(member.name, kind, element);
        ASSERT_EQ(value, expected) << member.name << " " << name_of(kind) << " " << element;
    });
}

TEST_F(StateFileTest, AGroupThatKeepsNoStateNowSaysWhatItDrops) {
    write(world_, five_groups(world_));
    OwnedState read;
    read.add("now_frozen", layer_0, world_.rank(), world_.size(), 0, {});
    const StateLoadReport report = load_group_slices(world_, StateFile(path_), read.groups);
    EXPECT_TRUE(report.carried.empty());
    ASSERT_FALSE(report.ignored.empty());
    EXPECT_EQ(report.ignored[0].name, "layer.0.weight");
    EXPECT_NE(report.ignored[0].reason.find("exp_avg, exp_avg_sq"), std::string::npos);
    EXPECT_EQ(read.groups[0].step, 7);
}

TEST_F(StateFileTest, AnotherShapeIsRefusedOnAllRanksBeforeAnythingChanges) {
    write(world_, five_groups(world_));
    OwnedState read;
    read.add("head", {{"classifier.weight", {97, 2}}, {"classifier.bias", {2}}}, world_.rank(), world_.size());
    read.fill_with(-1.0F);
    try {
        load_group_slices(world_, StateFile(path_), read.groups);
        FAIL() << "the shape went unnoticed";
    } catch (const UserError& error) {
        const std::string text = error.what();
        EXPECT_NE(text.find("classifier.weight has shape 2x97 there and 97x2 in this model"), std::string::npos)
            << text;
    }
    read.for_each(
        [](const StateGroup&, const StateSegment&, StateKind, std::int64_t, float value) { ASSERT_EQ(value, -1.0F); });
}

TEST_F(StateFileTest, ADamagedElementIsRefusedOnAllRanks) {
    write(world_, five_groups(world_));
    if (world_.rank() == 0) {
        const auto extents = StateFile(path_).extents();
        const auto found = std::find_if(extents.begin(), extents.end(), [](const auto& extent) {
            return extent.dataset == "/groups/layer_1/exp_avg_sq";
        });
        ASSERT_NE(found, extents.end());
        std::fstream stream(path_, std::ios::binary | std::ios::in | std::ios::out);
        stream.seekp(static_cast<std::streamoff>(found->offset));
        stream.put('\x7f');
    }
    world_.barrier();
    OwnedState read = five_groups(world_);
    try {
        load_group_slices(world_, StateFile(path_), read.groups);
        FAIL() << "the damage went unnoticed";
    } catch (const SystemError& error) {
        const std::string text = error.what();
        EXPECT_NE(text.find(path_.string()), std::string::npos) << text;
        EXPECT_NE(text.find("/groups/layer_1/exp_avg_sq"), std::string::npos) << text;
    }
}

TEST_F(StateFileTest, SlicesThatDoNotMeetAreABugOnAllRanks) {
    OwnedState state = five_groups(world_);
    if (world_.rank() == world_.size() - 1) state.groups[0].end -= 1;
    // The last rank may hold nothing of the first group; with a slice it is one element short.
    EXPECT_THROW(write_state_file(world_, path_, test_header(1, world_.size()), state.groups), std::runtime_error);
}

TEST(Shape, GoesToTextAndBack) {
    std::vector<std::int64_t> shape;
    for (const std::vector<std::int64_t>& original : {std::vector<std::int64_t>{}, {5}, {30522, 384}, {2, 0, 7}}) {
        ASSERT_TRUE(parse_shape(shape_text(original), shape));
        EXPECT_EQ(shape, original);
    }
    for (const char* wrong : {"", "x", "3x", "x3", "3xx4", "-3", "3x4 ", "99999999999999999999"}) {
        EXPECT_FALSE(parse_shape(wrong, shape)) << wrong;
    }
}

TEST(GroupLink, HoldsNoPath) {
    EXPECT_EQ(group_link("layer_0"), "layer_0");
    EXPECT_EQ(group_link("a/b%c"), "a%2Fb%25c");
    EXPECT_EQ(group_link(".."), "%2E.");
}

}  // namespace
}  // namespace strata::dist::testing
