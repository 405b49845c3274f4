// A coordinator that was killed takes over what its workers still run, and what they have finished.

#include <gtest/gtest.h>

#include "tests/support/sim_cluster.h"

namespace pa {
namespace {

using namespace std::chrono_literals;

std::int64_t kept_steps(const SimCluster& sim) {
  std::int64_t steps = 0;
  for (const auto& note : sim.notes<note::ShardKept>()) steps += note.steps;
  return steps;
}

/// Steps that the devices did for `samples` of `steps`, with a coordinator that is killed now and then.
std::int64_t steps_with_kills(std::uint64_t seed, Duration keep, bool noisy) {
  SimCluster::Options options;
  options.seed = seed;
  options.workers = 3;
  options.worker.keep = keep;
  options.coordinator.checkpoint_interval = 1s;
  if (noisy) {
    options.network.loss = 0.03;
    options.network.doubling = 0.03;
    options.network.reordering = true;
    options.network.jitter = 5ms;
  }
  SimCluster sim(options);
  sim.advance(3s);
  std::vector<RequestId> requests;
  for (int i = 0; i < 3; ++i) {
    requests.push_back(sim.submit({.samples = 4 + i, .steps = 700, .row_floats = 64}));
  }
  for (int i = 0; i < 5; ++i) {
    sim.advance(6s);
    sim.restart_coordinator();
  }
  EXPECT_TRUE(sim.run_until_idle(std::chrono::hours{1})) << sim.describe();
  for (const RequestId& request : requests) {
    EXPECT_TRUE(sim.reply(request) != nullptr && sim.reply(request)->ok());
    EXPECT_TRUE(sim.result_is_right(request));
  }
  if (keep == Duration{0}) {
    EXPECT_EQ(kept_steps(sim), 0);
  } else {
    EXPECT_GT(kept_steps(sim), 0);
  }
  return sim.steps_done();
}

TEST(Reoffer, RepeatsNoStepOfWhatStillRuns) {
  constexpr std::int64_t kSteps = std::int64_t{4 + 5 + 6} * 700;
  const std::int64_t with = steps_with_kills(1, 2min, false);
  const std::int64_t without = steps_with_kills(1, 0s, false);
  EXPECT_LE(with, kSteps + kSteps / 50);
  EXPECT_GT(without, with + kSteps / 10);
}

TEST(Reoffer, IsRightWhateverTheNetworkDoes) {
  for (std::uint64_t seed = 1; seed <= 8; ++seed) {
    SCOPED_TRACE(seed);
    (void)steps_with_kills(seed, 2min, true);
  }
}

TEST(Reoffer, AFinishedSampleThatNobodyTookIsNotDoneAgain) {
  SimCluster::Options options;
  options.workers = 1;
  SimCluster sim(options);
  sim.advance(1s);
  const RequestId request = sim.submit({.samples = 2, .steps = 100, .row_floats = 64});
  sim.advance(1s);
  // The coordinator is not there while they end.
  sim.cut_worker(0, true);
  sim.advance(10s);
  sim.restart_coordinator();
  sim.cut_worker(0, false);
  ASSERT_TRUE(sim.run_until_idle(60s)) << sim.describe();
  EXPECT_TRUE(sim.result_is_right(request));
  EXPECT_EQ(sim.steps_done(), 200);
}

TEST(Reoffer, AWorkerDropsWhatItHasAfterAWhile) {
  SimCluster::Options options;
  options.workers = 1;
  options.worker.keep = 5s;
  options.speed = {.fixed = 100ms, .per_row = 10ms};
  SimCluster sim(options);
  sim.advance(1s);
  const RequestId request = sim.submit({.samples = 2, .steps = 500, .row_floats = 64});
  sim.advance(1s);
  sim.cut_worker(0, true);
  sim.advance(20s);
  sim.restart_coordinator();
  sim.cut_worker(0, false);
  ASSERT_TRUE(sim.run_until_idle(10min)) << sim.describe();
  EXPECT_TRUE(sim.result_is_right(request));
  EXPECT_TRUE(sim.notes<note::ShardKept>().empty());
}

}  // namespace
}  // namespace pa
