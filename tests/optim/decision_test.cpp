#include "optim/decision.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

namespace strata::optim {
namespace {

UpdateControl decide_from(std::vector<double> square_sums, double loss, const DecisionTerms& terms) {
    square_sums.push_back(loss);
    return decide(square_sums.data(), static_cast<std::int64_t>(square_sums.size()) - 1, terms);
}

TEST(Decision, ClipsAsTorchDoes) {
    // A norm of 5.
    EXPECT_EQ(decide_from({9.0, 16.0}, 1.0, {0.0, 1.0}).grad_scale, 1.0F) << "0 does not clip";
    EXPECT_EQ(decide_from({9.0, 16.0}, 1.0, {5.1, 1.0}).grad_scale, 1.0F);
    EXPECT_EQ(decide_from({9.0, 16.0}, 1.0, {1.0, 1.0}).grad_scale, static_cast<float>(1.0 / (5.0 + 1e-6)));
    EXPECT_EQ(decide_from({0.0}, 1.0, {1.0, 1.0}).grad_scale, 1.0F);
    EXPECT_EQ(decide_from({}, 1.0, {1.0, 1.0}).grad_scale, 1.0F);
}

TEST(Decision, TakesTheLossScaleOut) {
    const double scale = 1024;
    const std::vector<double> scaled{9.0 * scale * scale, 16.0 * scale * scale};
    EXPECT_EQ(gradient_norm(scaled.data(), 2, scale), 5.0);
    EXPECT_EQ(decide_from(scaled, 1.0, {0.0, scale}).grad_scale, 1.0F / 1024);
    EXPECT_EQ(decide_from(scaled, 1.0, {1.0, scale}).grad_scale, static_cast<float>(1.0 / (5.0 + 1e-6) / scale));
}

TEST(Decision, SkipsWhatIsNotFinite) {
    for (const double bad : {std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()}) {
        EXPECT_FALSE(decide_from({1.0, bad, 1.0}, 1.0, {}).finite);
        EXPECT_FALSE(decide_from({1.0, 1.0}, bad, {}).finite);
        EXPECT_FALSE(decide_from({1.0, 1.0}, -bad, {}).finite);
    }
    EXPECT_TRUE(decide_from({1e300, 1.0}, -1.0, {}).finite);
}

}  // namespace
}  // namespace strata::optim
