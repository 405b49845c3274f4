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

CostedCandidate costed(std::uint64_t id, double fixed, double per_row, std::int64_t limit,
                       double free_at = 0) {
  return {WorkerId{id}, "w" + std::to_string(id), {fixed, per_row, {}}, limit, free_at, {}};
}

/// When a device has made `n` samples in passes of at most its limit.
double end_of(const CostedCandidate& device, std::int64_t n) {
  double time = device.free_at;
  for (; n > 0; n -= device.limit) time += device.cost(std::min(n, device.limit));
  return time;
}

TEST(Planner, RowsEndAsEarlyAsAnySplitAllows) {
  std::mt19937_64 random(4);
  const auto real = [&](double low, double high) {
    return std::uniform_real_distribution<>(low, high)(random);
  };
  for (int trial = 0; trial < 300; ++trial) {
    std::vector<CostedCandidate> devices;
    for (std::uint64_t i = 1; i <= 3; ++i) {
      devices.push_back(costed(i, real(0, 2), real(0.1, 3),
                               static_cast<std::int64_t>(1 + random() % 6),
                               random() % 2 == 0 ? 0 : real(0, 4)));
    }
    const auto samples = static_cast<std::int64_t>(1 + random() % 20);
    double best = 1e9;
    for (std::int64_t a = 0; a <= samples; ++a) {
      for (std::int64_t b = 0; a + b <= samples; ++b) {
        double end = 0;
        const std::int64_t counts[3] = {a, b, samples - a - b};
        for (std::size_t i = 0; i < 3; ++i) {
          if (counts[i] > 0) end = std::max(end, end_of(devices[i], counts[i]));
        }
        best = std::min(best, end);
      }
    }
    const Plan plan = plan_rows(samples, devices);
    double end = 0;
    std::int64_t sum = 0;
    for (std::size_t i = 0; i < 3; ++i) {
      sum += plan.shares[i].samples;
      if (plan.shares[i].samples > 0)
        end = std::max(end, end_of(devices[i], plan.shares[i].samples));
    }
    EXPECT_EQ(sum, samples);
    EXPECT_NEAR(end, best, 1e-6 * best) << "trial " << trial;
  }
}

TEST(Planner, RowsAreNotSplitWhereThatIsSlower) {
  const std::vector<CostedCandidate> devices{costed(1, 0.001, 0.002, 8), costed(2, 0.5, 0.1, 8)};
  const Plan plan = plan_rows(8, devices);
  EXPECT_EQ(plan.shares[0].samples, 8);
  EXPECT_EQ(plan.shares[1].samples, 0);
  EXPECT_NE(plan.shares[1].reason.find("without it"), std::string::npos);
}

TEST(Planner, RowsNeedACandidate) {
  std::vector<CostedCandidate> devices{costed(1, 1, 1, 8)};
  devices[0].excluded = "is suspect";
  const Plan plan = plan_rows(3, devices);
  EXPECT_FALSE(plan.placed);
  EXPECT_EQ(plan.shares[0].reason, "is suspect");
}

TEST(Planner, TellsTimesForPeople) {
  EXPECT_EQ(in_seconds(0.0031), "3.1 ms");
  EXPECT_EQ(in_seconds(0.0123), "12 ms");
  EXPECT_EQ(in_seconds(3.14159), "3.1 s");
  EXPECT_EQ(in_seconds(125), "125 s");
}

}  // namespace
}  // namespace pa
