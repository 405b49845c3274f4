#include "shared/sampling/step_math.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace pa {
namespace {

TEST(StepMath, PhiIsSmoothWhereTheSeriesTakesOver) {
  for (int k = 1; k <= 4; ++k) {
    const double below = phi(k, -0.5 + 1e-12);
    const double above = phi(k, -0.5 - 1e-12);
    EXPECT_NEAR(below, above, 1e-11) << k;
  }
  EXPECT_DOUBLE_EQ(phi(1, 0.0), 1.0);
  EXPECT_DOUBLE_EQ(phi(3, 0.0), 1.0 / 6.0);
  EXPECT_NEAR(phi(2, -1.0), std::exp(-1.0), 1e-15);
}

TEST(StepMath, AncestralSplitKeepsTheVariance) {
  const AncestralSplit split = ancestral_split(3.0, 2.0, 0.7);
  EXPECT_NEAR(split.down * split.down + split.up * split.up, 4.0, 1e-12);
  EXPECT_EQ(ancestral_split(3.0, 2.0, 0.0).up, 0.0);
  EXPECT_EQ(ancestral_split(INFINITY, 2.0, 1.0).down, 0.0);
}

TEST(StepMath, AncestralSplitOfFlowsReachesItsLevel) {
  const Prediction flow(true, [](double percent) { return 1.0 - percent; });
  const AncestralSplit split = ancestral_split(flow, 0.8, 0.5, 1.0);
  EXPECT_NEAR(split.scale * (1.0 - split.down), 0.5, 1e-12);  // The data's share.
  EXPECT_NEAR(std::hypot(split.scale * split.down, split.up), 0.5, 1e-12);
}

TEST(StepMath, AdamsWeightsIntegratePolynomials) {
  const std::vector<double> nodes{1.0, 0.7, 0.2};
  const std::vector<double> weights = adams_weights(nodes, 1.0, 1.5, nullptr);
  for (int power = 0; power < 3; ++power) {
    double sum = 0;
    for (std::size_t j = 0; j < nodes.size(); ++j) sum += weights[j] * std::pow(nodes[j], power);
    EXPECT_NEAR(sum, (std::pow(1.5, power + 1) - 1.0) / (power + 1), 1e-13) << power;
  }
}

TEST(StepMath, SolvesSystemsThatNeedPivots) {
  EXPECT_THAT(solve({{0.0, 2.0}, {4.0, 1.0}}, {6.0, 7.0}), ::testing::ElementsAre(1.0, 3.0));
}

}  // namespace
}  // namespace pa
