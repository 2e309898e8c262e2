// A run that goes on with other groups, another optimizer or other stages: each has a defined result, said by name
// before training goes on, and none happens in silence.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <ostream>

#include "dist/state_file.h"
#include "tests/distributed/equal_runs.h"
#include "tests/distributed/job.h"

namespace strata::testing_support {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

// Every policy here gives every parameter the run's own rate, so that groups are the only difference. Nothing is
// clipped, since a norm is a sum over groups, and its last bit would show how they were cut.
constexpr const char* two_rules = R"(
[[group]]
name = "below"
match = ["bert.embeddings.**", "bert.encoder.layer.0.**"]
multiplier = 1.0
[[group]]
name = "above"
match = ["bert.encoder.layer.1.**", "bert.encoder.layer.2.**", "bert.pooler.**", "classifier.**"]
multiplier = 1.0
)";
constexpr const char* same_names_other_members = R"(
[[group]]
name = "above"
match = ["bert.embeddings.**", "bert.encoder.layer.0.**"]
multiplier = 1.0
[[group]]
name = "below"
match = ["bert.encoder.layer.1.**", "bert.encoder.layer.2.**", "bert.pooler.**", "classifier.**"]
multiplier = 1.0
)";
constexpr const char* single = "[groups]\npolicy = \"single\"\n";
constexpr const char* layers = "[groups]\npolicy = \"layer-decay\"\ndecay = 1.0\n";
constexpr const char* tensors = "[groups]\npolicy = \"parameter-decay\"\ndecay = 1.0\n";

class Regrouped : public testing::Test {
  protected:
    /// 20 updates of the parity fixture, the groups said by `file`.
    std::vector<std::string> run(int ranks, const char* name, const std::string& file) {
        std::vector<std::string> flags = parity_run(ranks, scratch_ / name);
        const auto decay = std::find(flags.begin(), flags.end(), "--layer_decay");
        flags.erase(decay, decay + 2);
        const std::string config = scratch_.write(std::to_string(++files_) + ".toml", file);
        return with(flags, {"--config", config, "--save_steps", "10", "--max_grad_norm", "0"});
    }

    /// Trains `file` to its end on two ranks and leaves only the checkpoint of update 10.
    void cut(const char* name, const std::string& file) {
        expect_success(run_strata(2, run(2, name, file)));
        fs::remove_all(scratch_ / name / "checkpoint-20");
        fs::remove(scratch_ / name / "model.safetensors");
    }

    /// Goes on with what `file` says, which must be asked for.
    JobResult go_on(int ranks, const char* name, const std::string& file) {
        const auto flags = with(run(ranks, name, file), {"--resume_from_checkpoint", "auto"});
        const JobResult refused = run_strata(ranks, flags);
        EXPECT_EQ(refused.exit_code, 2) << refused.output;
        EXPECT_THAT(refused.output, HasSubstr("--allow_changes true"));
        return run_strata(ranks, with(flags, {"--allow_changes", "true"}));
    }

    std::vector<std::int64_t> group_steps(const char* name) const {
        const dist::StateFile file(scratch_ / name / "checkpoint-20/state.h5");
        std::vector<std::int64_t> steps;
        for (const auto& stored : file.groups()) steps.push_back(stored.group.step);
        return steps;
    }

    ScratchFolder scratch_;
    int files_ = 0;
};

struct Regrouping {
    const char* name;
    const char* before;
    const char* after;
    const char* said;
};

void PrintTo(const Regrouping& regrouping, std::ostream* out) {
    *out << regrouping.name;
}

class RegroupedRun : public Regrouped, public testing::WithParamInterface<Regrouping> {};

TEST_P(RegroupedRun, carries_every_moment_and_step) {
    expect_success(run_strata(2, run(2, "whole", GetParam().before)));
    cut("cut", GetParam().before);
    const JobResult job = go_on(2, "cut", GetParam().after);
    expect_success(job);
    EXPECT_THAT(job.output, AllOf(HasSubstr(GetParam().said), Not(HasSubstr("Started fresh")),
                                  Not(HasSubstr("but not used")), Not(HasSubstr("learn otherwise"))));
    EXPECT_EQ(bytes_of(scratch_ / "whole/model.safetensors"), bytes_of(scratch_ / "cut/model.safetensors"));
    EXPECT_THAT(group_steps("cut"), testing::Each(20));
}

INSTANTIATE_TEST_SUITE_P(
    Resume, RegroupedRun,
    testing::Values(Regrouping{"merged", layers, single, "all: made of embeddings, layer_0, layer_1, layer_2, head"},
                    Regrouping{"split", single, layers,
                               "5 groups: made of all\n    embeddings, layer_0, layer_1, layer_2, head\n"},
                    Regrouping{"split_to_tensors", layers, tensors,
                               "4 groups: made of head\n    bert.pooler.dense.weight, bert.pooler.dense.bias, "
                               "classifier.weight, classifier.bias\n"},
                    Regrouping{"cut_across", layers, two_rules, "above: made of layer_1, layer_2, head"},
                    Regrouping{"names_exchanged", two_rules, same_names_other_members, "above: made of below"}),
    [](const auto& test) { return test.param.name; });

TEST_F(Regrouped, another_rate_is_said_by_group) {
    cut("run", layers);
    const JobResult job = go_on(3, "run", "[groups]\npolicy = \"layer-decay\"\ndecay = 0.5\n");
    expect_success(job);
    EXPECT_THAT(job.output, AllOf(HasSubstr("Configured otherwise:\n  decay: 1.0 in the checkpoint, 0.5 now\n"),
                                  HasSubstr("Groups that learn otherwise:\n  embeddings: multiplier 0.0625, was 1\n"),
                                  Not(HasSubstr("  head: multiplier"))));
}

TEST_F(Regrouped, moments_of_another_kind_of_optimizer_start_fresh) {
    cut("run", layers);
    const std::string sgd = std::string("optim = \"sgd\"\nmomentum = 0.9\n") + layers;
    std::vector<std::string> flags = run(1, "run", sgd);
    flags.erase(std::find(flags.begin(), flags.end(), "--adam_epsilon"),
                std::find(flags.begin(), flags.end(), "--adam_epsilon") + 2);
    const JobResult job = run_strata(1, with(flags, {"--resume_from_checkpoint", "auto", "--allow_changes", "true"}));
    expect_success(job);
    EXPECT_THAT(
        job.output,
        AllOf(HasSubstr("optim: 'adamw' in the checkpoint, 'sgd' now"),
              HasSubstr("Started fresh:\n  57 parameters: the checkpoint's moments are adamw's, and sgd cannot go on "
                        "from them\n    bert.embeddings.word_embeddings.weight,")));
    EXPECT_THAT(group_steps("run"), testing::Each(10));
}

TEST_F(Regrouped, moments_of_the_same_kind_are_carried) {
    cut("run", layers);
    const JobResult job = go_on(2, "run", std::string("optim = \"lamb\"\n") + layers);
    expect_success(job);
    EXPECT_THAT(job.output,
                AllOf(HasSubstr("optim: 'adamw' in the checkpoint, 'lamb' now"), Not(HasSubstr("Started fresh"))));
    EXPECT_THAT(group_steps("run"), testing::Each(20));
}

TEST_F(Regrouped, a_group_that_is_frozen_now_keeps_its_weights_and_gives_up_its_moments) {
    cut("run", layers);
    const dist::StateFile before(scratch_ / "run/checkpoint-10/state.h5");
    const JobResult job = go_on(2, "run", std::string("[[stage]]\nfreeze_to = -1\n") + layers);
    expect_success(job);
    EXPECT_THAT(job.output, HasSubstr("In the checkpoint, but not used:\n  53 parameters: exp_avg, exp_avg_sq in the "
                                      "checkpoint, not kept by this run\n"));
    const dist::StateFile after(scratch_ / "run/checkpoint-20/state.h5");
    for (std::size_t group = 0; group + 1 < after.groups().size(); ++group) {
        const auto master = static_cast<std::size_t>(dist::StateKind::master);
        EXPECT_EQ(after.groups()[group].present, (std::array<bool, 3>{true, false, false}));
        ASSERT_TRUE(before.groups()[group].present[master]);
        EXPECT_EQ(values_of(after, group, dist::StateKind::master), values_of(before, group, dist::StateKind::master));
    }
    // And thawed again, with what is left: fresh moments, and a count of its own.
    fs::remove_all(scratch_ / "run/checkpoint-20");
    expect_success(run_strata(2, with(run(2, "run", std::string("[[stage]]\nfreeze_to = -1\n") + layers),
                                      {"--resume_from_checkpoint", "auto", "--allow_changes", "true", "--max_steps",
                                       "15", "--save_steps", "15"})));
    const JobResult thawed = go_on(3, "run", layers);
    expect_success(thawed);
    EXPECT_THAT(thawed.output,
                HasSubstr("Started fresh:\n  53 parameters: no exp_avg, exp_avg_sq in the checkpoint\n"));
    EXPECT_EQ(group_steps("run"), (std::vector<std::int64_t>{5, 5, 5, 5, 20}));
}

}  // namespace
}  // namespace strata::testing_support
