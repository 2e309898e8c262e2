// Runs with a copy of the optimizer state on each of several hosts, blocks of ranks standing in for hosts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/distributed/equal_runs.h"
#include "tests/distributed/job.h"

namespace strata::testing_support {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

std::vector<std::string> on_hosts_of(int ranks_per_host, std::vector<std::string> run) {
    return with(std::move(run), {"--shard", "node", "--ranks_per_host", std::to_string(ranks_per_host)});
}

void expect_near_losses(const fs::path& run, const fs::path& expected, double tolerance = 1e-5) {
    const auto own = read_lines(run / "metrics.jsonl");
    const auto others = read_lines(expected / "metrics.jsonl");
    ASSERT_EQ(own.size(), others.size());
    for (std::size_t i = 0; i < own.size(); ++i) {
        const double loss = others[i]["loss"];
        EXPECT_NEAR(own[i]["loss"].get<double>(), loss, tolerance * loss) << "update " << i + 1;
    }
}

class ShardNode : public testing::TestWithParam<const char*> {};

TEST_P(ShardNode, TrainsAndSavesAsOneRankDoes) {
    const ScratchFolder scratch;
    const std::vector<std::string> stage{"--zero_stage", GetParam()};
    expect_success(run_strata(1, with(parity_run(1, scratch / "one"), stage)));
    const auto job = run_strata(4, on_hosts_of(2, with(parity_run(4, scratch / "node"), stage)));
    expect_success(job);
    EXPECT_THAT(job.output, HasSubstr(std::string("ZeRO stage ") + GetParam() + " in each of 2 hosts"));
    expect_near_losses(scratch / "node", scratch / "one");
    expect_success(run_strata(0, {"checkpoint", "verify", (scratch / "node").string()}));
}

INSTANTIATE_TEST_SUITE_P(Shard, ShardNode, testing::Values("1", "2"));

/// Saved with copies on hosts and read by all ranks, other hosts and one rank; and the other way round.
TEST(Shard, any_way_to_share_out_reads_the_checkpoints_of_any_other) {
    const ScratchFolder scratch;
    const auto run = [&](int ranks, const char* name) {
        return with(parity_run(ranks, scratch / name), {"--save_steps", "10"});
    };
    const auto cut = [&](const char* from, const char* name) {
        fs::copy(scratch / from, scratch / name, fs::copy_options::recursive);
        fs::remove_all(scratch / name / "checkpoint-20");
    };
    expect_success(run_strata(4, on_hosts_of(2, run(4, "node"))));
    for (const int ranks : {1, 3}) {
        cut("node", "all");
        expect_success(run_strata(ranks, with(run(ranks, "all"), {"--resume_from_checkpoint", "auto"})));
        expect_near_losses(scratch / "all", scratch / "node");
        fs::remove_all(scratch / "all");
    }
    cut("node", "same");
    expect_success(run_strata(4, on_hosts_of(2, with(run(4, "same"), {"--resume_from_checkpoint", "auto"}))));
    expect_equal_runs(scratch / "node", scratch / "same");
    expect_success(run_strata(2, run(2, "two")));
    cut("two", "hosts");
    expect_success(run_strata(3, on_hosts_of(1, with(run(3, "hosts"), {"--resume_from_checkpoint", "auto"}))));
    expect_near_losses(scratch / "hosts", scratch / "two");
}

std::vector<std::string> in_bf16(std::vector<std::string> run) {
    return with(std::move(run), {"--bf16", "true"});
}

TEST_P(ShardNode, TrainsInBf16AsWithOneCopy) {
    const ScratchFolder scratch;
    const std::vector<std::string> stage{"--zero_stage", GetParam()};
    expect_success(run_strata(4, in_bf16(with(parity_run(4, scratch / "all"), stage))));
    const auto job = run_strata(4, on_hosts_of(2, in_bf16(with(parity_run(4, scratch / "node"), stage))));
    expect_success(job);
    EXPECT_THAT(job.output, HasSubstr(" in each of 2 hosts, bf16 with fp32 masters"));
    expect_near_losses(scratch / "node", scratch / "all", 0.01);
    expect_success(run_strata(0, {"checkpoint", "verify", (scratch / "node").string()}));
}

/// Cut and read by the same copies, one copy and copies elsewhere.
TEST(Shard, checkpoints_of_16_bits_are_read_by_any_way_to_share_out) {
    const ScratchFolder scratch;
    const auto run = [&](int ranks, const char* name) {
        return in_bf16(with(parity_run(ranks, scratch / name), {"--save_steps", "10"}));
    };
    const auto resumed = [&](const char* from, std::vector<std::string> flags, const char* name) {
        fs::copy(scratch / from, scratch / name, fs::copy_options::recursive);
        fs::remove_all(scratch / name / "checkpoint-20");
        return with(std::move(flags), {"--resume_from_checkpoint", "auto"});
    };
    expect_success(run_strata(4, on_hosts_of(2, run(4, "node"))));
    expect_success(run_strata(4, resumed("node", on_hosts_of(2, run(4, "same")), "same")));
    expect_equal_runs(scratch / "node", scratch / "same");
    expect_success(run_strata(3, resumed("node", run(3, "all"), "all")));
    expect_near_losses(scratch / "all", scratch / "node", 0.01);
    expect_success(run_strata(2, resumed("all", on_hosts_of(1, run(2, "hosts")), "hosts")));
    expect_near_losses(scratch / "hosts", scratch / "all", 0.01);
}

TEST(Shard, what_cannot_be_shared_out_is_refused) {
    const ScratchFolder scratch;
    const auto uneven = run_strata(3, on_hosts_of(2, parity_run(3, scratch / "run")));
    EXPECT_EQ(uneven.exit_code, 2) << uneven.output;
    EXPECT_THAT(uneven.output, HasSubstr("3 ranks are not whole hosts of 2"));
    const auto ordered =
        run_strata(2, on_hosts_of(1, with(parity_run(2, scratch / "run"), {"--deterministic", "true"})));
    EXPECT_EQ(ordered.exit_code, 2) << ordered.output;
    EXPECT_THAT(ordered.output, HasSubstr("deterministic needs --shard all"));
    EXPECT_FALSE(fs::exists(scratch / "run"));
}

}  // namespace
}  // namespace strata::testing_support
