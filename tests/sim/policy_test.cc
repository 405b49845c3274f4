// The scheduling policy on random clusters: a bounded set of seeds in every run. tests/sim/explore runs more.

#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/support/policy_sim.h"

namespace pa {
namespace {

/// PA_SIM_SEEDS=A..B runs other seeds than the few of every run.
std::pair<std::uint64_t, std::uint64_t> seeds() {
  const char* text = std::getenv("PA_SIM_SEEDS");
  if (text == nullptr) return {1, 24};
  const std::string range = text;
  const std::size_t dots = range.find("..");
  return {std::stoull(range.substr(0, dots)),
          std::stoull(range.substr(dots == std::string::npos ? 0 : dots + 2))};
}

/// Efficiencies of all cases with this batch.
std::vector<double> efficiencies(Batch batch, Mishap mishap) {
  std::vector<double> found;
  const auto [first, last] = seeds();
  for (const PolicyCase& one : policy_cases(mishap)) {
    if (one.batch != batch) continue;
    for (std::uint64_t seed = first; seed <= last; ++seed) {
      const PolicyRun run = run_policy(one, seed);
      EXPECT_EQ(run.problem, "") << name_of(one) << ", seed " << seed;
      EXPECT_LE(run.efficiency, 1 + 4 * one.jitter) << name_of(one) << ", seed " << seed;
      found.push_back(run.efficiency);
    }
  }
  return found;
}

TEST(PolicySim, ManySamplesKeepAllDevicesBusyToTheEnd) {
  const auto found = efficiencies(Batch::kMany, Mishap::kNone);
  EXPECT_GE(percentile(found, 0.5), 0.96);
  EXPECT_GE(percentile(found, 0.01), 0.87);
}

TEST(PolicySim, SomeSamples) {
  const auto found = efficiencies(Batch::kSome, Mishap::kNone);
  EXPECT_GE(percentile(found, 0.5), 0.93);
  EXPECT_GE(percentile(found, 0.05), 0.85);
}

TEST(PolicySim, FewSamplesMoveToTheFastest) {
  const auto found = efficiencies(Batch::kFew, Mishap::kNone);
  EXPECT_GE(percentile(found, 0.5), 0.90);
  EXPECT_GE(percentile(found, 0.05), 0.80);
}

TEST(PolicySim, ADeviceThatBecomesSlowIsRelieved) {
  EXPECT_GE(percentile(efficiencies(Batch::kMany, Mishap::kSlow), 0.5), 0.93);
  EXPECT_GE(percentile(efficiencies(Batch::kSome, Mishap::kSlow), 0.5), 0.90);
}

TEST(PolicySim, ADeviceThatIsLostOrLateChangesLittle) {
  EXPECT_GE(percentile(efficiencies(Batch::kMany, Mishap::kLost), 0.5), 0.90);
  EXPECT_GE(percentile(efficiencies(Batch::kMany, Mishap::kLate), 0.5), 0.93);
}

TEST(PolicySim, EqualSeedsGiveEqualRunsAndATraceChangesNothing) {
  const PolicyCase one = policy_cases().at(4);
  std::string trace;
  EXPECT_EQ(run_policy(one, 7).efficiency, run_policy(one, 7, &trace).efficiency);
  EXPECT_NE(run_policy(one, 7).efficiency, run_policy(one, 8).efficiency);
  EXPECT_NE(trace.find("traceEvents"), std::string::npos);
}

}  // namespace
}  // namespace pa
