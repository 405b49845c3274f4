#include "coordinator/core/planner.h"

#include <gtest/gtest.h>

#include <numeric>
#include <random>

namespace pa {
namespace {

std::vector<PlanCandidate> with_weights(const std::vector<double>& weights) {
  std::vector<PlanCandidate> candidates;
  for (std::size_t i = 0; i < weights.size(); ++i)
    candidates.push_back({WorkerId{i + 1}, weights[i], {}});
  return candidates;
}

std::vector<std::int64_t> shares(std::int64_t samples, const std::vector<double>& weights) {
  std::vector<std::int64_t> counts;
  for (const PlannedShare& share : plan_by_weight(samples, with_weights(weights)).shares)
    counts.push_back(share.samples);
  return counts;
}

using Counts = std::vector<std::int64_t>;

TEST(Planner, SharesByLargestRemainder) {
  EXPECT_EQ(shares(21, {70, 30}), (Counts{15, 6}));
  EXPECT_EQ(shares(7, {40, 40, 15, 5}), (Counts{3, 3, 1, 0}));
  EXPECT_EQ(shares(5, {1, 1, 1}), (Counts{2, 2, 1}));
}

TEST(Planner, GivesNothingRatherThanTooMuchToSmallWeights) {
  EXPECT_EQ(shares(4, {97, 1, 1, 1}), (Counts{4, 0, 0, 0}));
  EXPECT_EQ(shares(5, {97, 1, 1, 1}), (Counts{5, 0, 0, 0}));
  EXPECT_EQ(shares(8, {97, 1, 1, 1}), (Counts{8, 0, 0, 0}));
  EXPECT_EQ(shares(21, {97, 1, 1, 1}), (Counts{21, 0, 0, 0}));
}

TEST(Planner, HandlesBatchesSmallerThanTheCluster) {
  EXPECT_EQ(shares(1, {1, 1, 1, 1}), (Counts{1, 0, 0, 0}));
  EXPECT_EQ(shares(3, {1, 1, 1, 1}), (Counts{1, 1, 1, 0}));
  EXPECT_EQ(shares(0, {1, 2}), (Counts{0, 0}));
}

TEST(Planner, LeavesOutExcludedAndWeightless) {
  std::vector<PlanCandidate> candidates = with_weights({5, 0, 5});
  candidates[0].excluded = "is suspect";
  const Plan plan = plan_by_weight(3, candidates);
  EXPECT_TRUE(plan.placed);
  EXPECT_EQ(plan.shares[0].samples, 0);
  EXPECT_EQ(plan.shares[0].reason, "is suspect");
  EXPECT_EQ(plan.shares[1].reason, "weight 0");
  EXPECT_EQ(plan.shares[2].samples, 3);
  EXPECT_EQ(plan.shares[2].reason, "100% of the weight");
}

TEST(Planner, PlacesNothingWithoutCandidates) {
  EXPECT_FALSE(plan_by_weight(3, {}).placed);
  EXPECT_FALSE(plan_by_weight(3, with_weights({0, 0})).placed);
}

TEST(Planner, SharesAddUpAndStayWithinOneOfExact) {
  std::mt19937 random(1);
  for (int round = 0; round < 2000; ++round) {
    std::vector<double> weights(1 + random() % 12);
    for (double& weight : weights) weight = static_cast<double>(random() % 1000) / 7;
    const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
    if (total == 0) continue;
    const auto samples = static_cast<std::int64_t>(random() % 300);
    const Counts counts = shares(samples, weights);
    EXPECT_EQ(std::accumulate(counts.begin(), counts.end(), std::int64_t{0}), samples);
    for (std::size_t i = 0; i < weights.size(); ++i) {
      EXPECT_NEAR(static_cast<double>(counts[i]), static_cast<double>(samples) * weights[i] / total,
                  1.0);
    }
  }
}

}  // namespace
}  // namespace pa
