// What a lost worker costs: no more than its samples' steps since they were last saved.

#include <gtest/gtest.h>

#include <numeric>

#include "tests/support/sim_cluster.h"

namespace pa {
namespace {

using namespace std::chrono_literals;

/// Samples take minutes.
SimCluster::Job long_sample(std::int64_t samples) {
  return {.samples = samples, .steps = 900, .row_floats = 64};
}

SimCluster::Options options_of(std::uint64_t seed, Duration interval = 5s) {
  SimCluster::Options options;
  options.seed = seed;
  options.workers = 2;
  options.speed = {.fixed = 50ms, .per_row = 10ms};
  options.coordinator.checkpoint_interval = interval;
  return options;
}

std::int64_t saved_steps(const SimCluster& sim) {
  std::int64_t steps = 0;
  for (const auto& note : sim.notes<note::ShardLost>()) steps += note.saved_steps;
  return steps;
}

std::int64_t lost_steps(const SimCluster& sim) {
  std::int64_t steps = 0;
  for (const auto& note : sim.notes<note::ShardLost>()) steps += note.lost_steps;
  return steps;
}

void expect_right(SimCluster& sim, const RequestId& request) {
  ASSERT_TRUE(sim.run_until_idle(std::chrono::hours{1})) << sim.describe();
  ASSERT_TRUE(sim.reply(request)->ok()) << sim.reply(request)->error().message;
  EXPECT_TRUE(sim.result_is_right(request));
}

TEST(Checkpoints, ALostWorkersSamplesGoOnFromTheLast) {
  SimCluster sim(options_of(1));
  sim.advance(1s);
  const RequestId request = sim.submit(long_sample(4));
  sim.advance(33s);
  sim.kill_worker(0);
  sim.kill_worker(1);
  sim.restart_worker(0);
  expect_right(sim, request);
  // Of 33 s, 5 s and what is between two heartbeats may be lost, on each of the workers.
  EXPECT_GT(saved_steps(sim), 4 * lost_steps(sim));
  EXPECT_GT(lost_steps(sim), 0);
}

TEST(Checkpoints, ShortSamplesCostNothing) {
  SimCluster sim(options_of(2));
  sim.advance(1s);
  const RequestId request = sim.submit({.samples = 40, .steps = 30});
  expect_right(sim, request);
  EXPECT_TRUE(sim.notes<note::CheckpointTaken>().empty());
}

TEST(Checkpoints, NoneAreMadeWithoutABudget) {
  SimCluster::Options options = options_of(3);
  options.coordinator.checkpoint_bytes = 0;
  SimCluster sim(options);
  sim.advance(1s);
  const RequestId request = sim.submit(long_sample(2));
  sim.advance(30s);
  sim.restart_worker(0);
  sim.restart_worker(1);
  expect_right(sim, request);
  EXPECT_TRUE(sim.notes<note::CheckpointTaken>().empty());
}

TEST(Checkpoints, StayWithinTheirBudget) {
  SimCluster::Options options = options_of(4, 1s);
  options.coordinator.checkpoint_bytes =
      std::uint64_t{3} * 16;  // SimCompute's state has at most 16 bytes.
  options.yields = true;
  SimCluster sim(options);
  sim.advance(1s);
  const RequestId request = sim.submit(long_sample(12));
  std::uint64_t most = 0;
  for (int i = 0; i < 600; ++i) {
    sim.advance(50ms);
    most = std::max(most, sim.coordinator().checkpoint_bytes());
  }
  EXPECT_GT(most, 0u);
  EXPECT_LE(most, options.coordinator.checkpoint_bytes);
  sim.restart_worker(0);
  expect_right(sim, request);
  EXPECT_EQ(sim.coordinator().checkpoint_bytes(), 0u);
}

TEST(Checkpoints, SurviveLossDoublingAndDeathAgainAndAgain) {
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    SCOPED_TRACE(seed);
    SimCluster::Options options = options_of(seed, 500ms);
    options.workers = 3;
    options.network.loss = 0.03;
    options.network.doubling = 0.03;
    options.network.reordering = true;
    options.network.jitter = 5ms;
    options.coordinator.max_attempts = 1000;
    options.coordinator.strikes = 1000;
    SimCluster sim(options);
    sim.advance(3s);
    const RequestId request = sim.submit({.samples = 5, .steps = 400, .row_floats = 64});
    for (int i = 0; i < 60; ++i) {
      sim.advance(1s);
      sim.restart_worker(static_cast<std::size_t>(i) % 3);
    }
    expect_right(sim, request);
    EXPECT_GT(saved_steps(sim), 0);
  }
}

}  // namespace
}  // namespace pa
