#include "data/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/file.h"
#include "tests/data/temporary_file.h"

namespace strata::data {
namespace {

using ::testing::HasSubstr;
using ::testing::Key;
using ::testing::UnorderedElementsAre;

const LabelSet two_classes{false, {"0", "1"}};

double metric_named(const std::string& name, Values predictions, Values references) {
    if (name == "accuracy") return accuracy(predictions, references);
    if (name == "f1") return f1(predictions, references);
    if (name == "matthews_correlation") return matthews_correlation(predictions, references);
    if (name == "mse") return mean_squared_error(predictions, references);
    if (name == "pearson") return pearson(predictions, references);
    if (name == "spearmanr") return spearmanr(predictions, references);
    throw std::logic_error(name);
}

TEST(Metrics, EqualScikitLearnAndScipy) {
    int compared = 0;
    for (const auto& one : nlohmann::json::parse(read_file(STRATA_FIXTURES "/data/metrics.json"))) {
        const auto predictions = one["predictions"].get<std::vector<double>>();
        const auto references = one["references"].get<std::vector<double>>();
        for (const auto& [name, wanted] : one["metrics"].items()) {
            SCOPED_TRACE(one["name"].get<std::string>() + " " + name);
            const double value = metric_named(name, predictions, references);
            ++compared;
            if (wanted.is_null()) {
                EXPECT_TRUE(std::isnan(value)) << value;
            } else {
                EXPECT_NEAR(value, wanted.get<double>(), 1e-9 * std::max(1.0, std::abs(wanted.get<double>())));
            }
        }
    }
    EXPECT_EQ(compared, 59);
}

TEST(Metrics, AreUndefinedWithoutValuesAndNeverCrash) {
    const std::vector<double> none;
    const std::vector<double> one = {1};
    const std::vector<double> some = {1, std::numeric_limits<double>::quiet_NaN(), 3};
    const std::vector<double> others = {1, 2, 4};
    for (const std::string name : {"accuracy", "f1", "matthews_correlation", "mse", "pearson", "spearmanr"}) {
        EXPECT_TRUE(std::isnan(metric_named(name, none, none))) << name;
    }
    EXPECT_TRUE(std::isnan(pearson(one, one)));
    EXPECT_TRUE(std::isnan(spearmanr(one, one)));
    EXPECT_TRUE(std::isnan(pearson(some, others)));
    EXPECT_TRUE(std::isnan(spearmanr(some, others)));
    EXPECT_THROW(accuracy(one, none), std::logic_error);
}

TEST(Metrics, HaveTransformersNames) {
    const std::vector<double> p = {1, 0, 1, 1};
    const std::vector<double> r = {1, 0, 0, 1};
    const auto names = [&](const char* task) { return compute_metrics(task, two_classes, p, r); };
    EXPECT_THAT(names("cola"), UnorderedElementsAre(Key("matthews_correlation")));
    for (const char* task : {"sst2", "mnli", "qnli", "rte", "wnli"}) {
        EXPECT_THAT(names(task), UnorderedElementsAre(Key("accuracy"))) << task;
    }
    for (const char* task : {"mrpc", "qqp"}) {
        EXPECT_THAT(names(task), UnorderedElementsAre(Key("accuracy"), Key("f1"), Key("combined_score"))) << task;
    }
    EXPECT_THAT(names("stsb"), UnorderedElementsAre(Key("pearson"), Key("spearmanr"), Key("combined_score")));
    EXPECT_NEAR(names("mrpc").at("combined_score"), (0.75 + 0.8) / 2, 1e-12);
    EXPECT_THAT(user_error_of([&] { names("sst-2"); }), HasSubstr("Did you mean 'sst2'?"));
}

TEST(Metrics, OfCustomDataFollowTheLabels) {
    const std::vector<double> p = {1, 0, 1, 1};
    const std::vector<double> r = {1, 0, 0, 1};
    EXPECT_THAT(compute_metrics("", two_classes, p, r),
                UnorderedElementsAre(Key("accuracy"), Key("f1"), Key("matthews_correlation")));
    EXPECT_THAT(compute_metrics("", {false, {"a", "b", "c"}}, p, r), UnorderedElementsAre(Key("accuracy")));
    EXPECT_THAT(compute_metrics("", {true, {}}, p, r),
                UnorderedElementsAre(Key("mse"), Key("pearson"), Key("spearmanr")));
}

}  // namespace
}  // namespace strata::data
