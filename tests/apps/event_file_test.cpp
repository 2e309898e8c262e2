// TensorBoard's event files: byte for byte what its own package writes, and read back.
#include "apps/strata/event_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <limits>

#include "apps/strata/event_scalars.h"
#include "core/error.h"
#include "core/file.h"
#include "tests/support/event_reader.h"

namespace strata::app {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::Pair;
using testing::UnorderedElementsAre;
using testing_support::read_events;

TEST(Crc32c, has_the_vectors_of_rfc_3720) {
    EXPECT_EQ(crc32c(""), 0U);
    EXPECT_EQ(crc32c("123456789"), 0xE3069283U);
    EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAU);
    EXPECT_EQ(crc32c(std::string(32, '\xFF')), 0x62A8AB43U);
    std::string counting;
    for (char byte = 0; byte < 32; ++byte) counting += byte;
    EXPECT_EQ(crc32c(counting), 0x46DD794EU);
    std::reverse(counting.begin(), counting.end());
    EXPECT_EQ(crc32c(counting), 0x113FDB5CU);
}

TEST(EventRecord, is_what_the_tensorboard_package_writes) {
    const std::vector<Scalar> scalars = {
        {"train/loss", 0.6931},
        {"lr/layer_0", 0.0},
        {"grad_norm/" + std::string(200, 'x'), std::numeric_limits<double>::infinity()}};
    const std::string ours = version_record(1.5) + start_record(2.25, 15) +
                             scalars_record(1700000000.125, 300, scalars) +
                             scalars_record(3, std::int64_t{1} << 40, {});
    EXPECT_TRUE(ours == read_file(STRATA_FIXTURES "/tensorboard/events.bin"));
}

class EventFileTest : public testing::Test {
  protected:
    EventFileTest() : folder_(fs::path(testing::TempDir()) / ("event_file_test_" + std::to_string(::getpid()))) {
        fs::remove_all(folder_);
        fs::create_directories(folder_);
    }
    ~EventFileTest() override { fs::remove_all(folder_); }
    fs::path folder_;
};

TEST_F(EventFileTest, reads_back) {
    const EventFile file(folder_, 1);
    file.append(10, std::vector<Scalar>{{"train/loss", 0.5}, {"lr/head", 1e-3}});
    file.append(20, std::vector<Scalar>{{"eval/accuracy", 0.875}});
    const auto events = read_events(read_file(file.path()));
    ASSERT_EQ(events.size(), 4U);
    EXPECT_EQ(events[0].file_version, "brain.Event:2");
    EXPECT_EQ(events[1].session_log, "\x08\x01");
    EXPECT_EQ(events[1].step, 1);
    EXPECT_EQ(events[2].step, 10);
    EXPECT_THAT(events[2].scalars, UnorderedElementsAre(Pair("train/loss", 0.5F), Pair("lr/head", 1e-3F)));
    EXPECT_EQ(events[3].step, 20);
    EXPECT_THAT(events[3].scalars, ElementsAre(Pair("eval/accuracy", 0.875F)));
    EXPECT_GT(events[0].wall_time, 1.7e9);
    EXPECT_LE(events[0].wall_time, events[3].wall_time);
}

TEST_F(EventFileTest, a_later_file_sorts_behind_the_earlier_ones) {
    fs::path last = folder_ / "events.out.tfevents.9000000000.other_host_whose_clock_is_fast.1";
    write_file_atomically(last, "");
    for (int i = 0; i < 3; ++i) {
        const EventFile file(folder_, 1);
        EXPECT_GT(file.path(), last);
        last = file.path();
    }
}

TEST_F(EventFileTest, a_full_disk_is_the_users_to_mend) {
    if (::access("/dev/full", W_OK) != 0) GTEST_SKIP() << "no /dev/full here";
    const EventFile file(folder_, 1);
    fs::remove(file.path());
    fs::create_symlink("/dev/full", file.path());
    EXPECT_THAT([&] { file.append(1, {}); },
                testing::ThrowsMessage<UserError>(testing::HasSubstr("cannot be written: No space left")));
}

TEST(EventScalars, go_by_the_tags_that_people_know) {
    StepRecord record;
    record.mean_loss = 0.5;
    record.learning_rates = {{"layer_0", 1e-4}, {"head", 1e-3}};
    record.group_weight_norms = {{"layer_0", 3.0}, {"head", 4.0}};
    record.phase_seconds = {{"forward", 0.25}};
    std::map<std::string, double> found;
    for (const Scalar& scalar : scalars_of(record)) EXPECT_TRUE(found.emplace(scalar.tag, scalar.value).second);
    EXPECT_EQ(found["train/loss"], 0.5);
    EXPECT_EQ(found["train/learning_rate"], 1e-3);
    EXPECT_EQ(found["lr/layer_0"], 1e-4);
    EXPECT_EQ(found["weight_norm/head"], 4.0);
    EXPECT_EQ(found["seconds/forward"], 0.25);
}

TEST(EventScalars, of_results_leave_out_what_is_no_number) {
    const auto scalars = scalars_of(nlohmann::json{
        {"eval_accuracy", 0.5}, {"eval_mcc", nullptr}, {"epoch", 1.0}, {"step", 7}, {"train_runtime", 2.5}});
    ASSERT_EQ(scalars.size(), 2U);
    EXPECT_EQ(scalars[0].tag, "eval/accuracy");
    EXPECT_EQ(scalars[1].tag, "train/train_runtime");
    EXPECT_EQ(scalars[1].value, 2.5);
}

}  // namespace
}  // namespace strata::app
