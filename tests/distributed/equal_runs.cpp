#include "tests/distributed/equal_runs.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>

namespace strata::testing_support {
namespace fs = std::filesystem;

std::vector<float> values_of(const dist::StateFile& file, std::size_t group, dist::StateKind kind) {
    std::vector<float> values(static_cast<std::size_t>(file.groups()[group].group.elements));
    file.read(group, kind, {{0, file.groups()[group].group.elements, values.data()}});
    return values;
}

void expect_equal_state(const fs::path& a, const fs::path& b) {
    const dist::StateFile first(a / "state.h5");
    const dist::StateFile second(b / "state.h5");
    ASSERT_EQ(first.groups().size(), second.groups().size());
    for (std::size_t group = 0; group < first.groups().size(); ++group) {
        EXPECT_EQ(first.groups()[group].group.step, second.groups()[group].group.step);
        EXPECT_EQ(first.groups()[group].present, second.groups()[group].present);
        for (const auto kind : dist::state_kinds) {
            if (!first.groups()[group].present[static_cast<std::size_t>(kind)]) continue;
            const auto values = values_of(first, group, kind);
            const auto others = values_of(second, group, kind);
            ASSERT_EQ(values.size(), others.size());
            EXPECT_EQ(std::memcmp(values.data(), others.data(), values.size() * sizeof(float)), 0)
                << first.groups()[group].group.name << "/" << dist::name_of(kind);
        }
    }
}

void expect_success(const JobResult& job) {
    ASSERT_EQ(job.exit_code, 0) << job.output;
}

std::string bytes_of(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<nlohmann::json> history(const fs::path& log) {
    auto lines = read_lines(log);
    for (auto& line : lines) {
        for (const char* timed : {"tokens_per_second", "seconds", "save_seconds", "eval_runtime",
                                  "eval_samples_per_second", "eval_tokens_per_second"}) {
            line.erase(timed);
        }
    }
    return lines;
}

void expect_equal_runs(const fs::path& a, const fs::path& b) {
    EXPECT_EQ(bytes_of(a / "model.safetensors"), bytes_of(b / "model.safetensors"));
    EXPECT_EQ(history(a / "metrics.jsonl"), history(b / "metrics.jsonl"));
    EXPECT_EQ(history(a / "evaluations.jsonl"), history(b / "evaluations.jsonl"));
    for (const char* value : {"train_loss", "eval_loss", "eval_accuracy"}) {
        EXPECT_EQ(read_json(a / "all_results.json")[value], read_json(b / "all_results.json")[value]) << value;
    }
    expect_equal_state(a / "checkpoint-20", b / "checkpoint-20");
}
}  // namespace strata::testing_support
