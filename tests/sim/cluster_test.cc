// The whole cluster on simulated time, without faults or with a single one: what a request goes through.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/sim_cluster.h"

namespace pa {
namespace {

using namespace std::chrono_literals;

std::map<std::string, std::int64_t> samples_by_worker(const Outcome& outcome) {
  std::map<std::string, std::int64_t> counts;
  for (const SampleReport& report : outcome.done.samples) ++counts[report.worker];
  return counts;
}

SimCluster::Options with_workers(std::size_t workers) {
  SimCluster::Options options;
  options.workers = workers;
  return options;
}

TEST(ClusterSim, SplitsABatchAndMergesItInOrder) {
  SimCluster sim(with_workers(2));
  sim.advance(100ms);
  const RequestId request = sim.submit({.samples = 21});
  ASSERT_TRUE(sim.run_until_idle(10s));
  ASSERT_TRUE(sim.reply(request)->ok()) << sim.reply(request)->error().message;
  EXPECT_TRUE(sim.result_is_right(request));
  const auto shares = samples_by_worker(**sim.reply(request));
  ASSERT_EQ(shares.size(), 2u);
  EXPECT_EQ(shares.at("w0") + shares.at("w1"), 21);
}

TEST(ClusterSim, ForwardEchoesEveryRow) {
  SimCluster sim(with_workers(3));
  sim.advance(100ms);
  const RequestId request =
      sim.submit({.samples = 10, .op = Operation::kForward, .row_floats = 100000});
  ASSERT_TRUE(sim.run_until_idle(10s));
  ASSERT_TRUE(sim.reply(request)->ok()) << sim.reply(request)->error().message;
  EXPECT_TRUE(sim.result_is_right(request));
}

TEST(ClusterSim, SharedBytesAreCopiedTwiceInAllAndTheCoordinatorMapsNone) {
  SimCluster::Options options = with_workers(2);
  options.network.sharing = 1;
  SimCluster sim(options);
  sim.advance(100ms);
  const std::int64_t floats = 100'000;
  const RequestId request =
      sim.submit({.samples = 10, .op = Operation::kForward, .row_floats = floats});
  ASSERT_TRUE(sim.run_until_idle(10s));
  ASSERT_TRUE(sim.reply(request)->ok()) << sim.reply(request)->error().message;
  EXPECT_TRUE(sim.result_is_right(request));
  EXPECT_EQ(sim.coordinator_mapped_bytes(), 0U);
  // The client copies its inputs once; each worker writes its rows once, which streams know nothing of.
  EXPECT_EQ(sim.copied_bytes(), static_cast<std::uint64_t>(10 * floats) * sizeof(float));
  for (const auto& note : sim.notes<note::ShardAssigned>()) EXPECT_TRUE(note.shares);
}

TEST(ClusterSim, WhoCannotHaveSharedMemoryGetsTheBytes) {
  for (const double sharing : {0.01, 0.3, 0.6}) {
    SimCluster::Options options = with_workers(3);
    options.network.sharing = sharing;
    SimCluster sim(options);
    sim.advance(100ms);
    std::vector<RequestId> requests;
    for (int i = 0; i < 10; ++i) {
      requests.push_back(
          sim.submit({.samples = 7, .op = Operation::kForward, .row_floats = 30'000}));
    }
    ASSERT_TRUE(sim.run_until_idle(60s)) << sim.describe();
    for (const RequestId& request : requests) {
      ASSERT_TRUE(sim.reply(request)->ok()) << sim.reply(request)->error().message;
      EXPECT_TRUE(sim.result_is_right(request));
    }
  }
}

TEST(ClusterSim, RunsAnyBatchOnAnyWeights) {
  const std::vector<std::vector<double>> clusters = {
      {1, 1, 1, 1}, {97, 1, 1, 1}, {40, 40, 15, 5}, {70, 30}};
  for (const std::vector<double>& weights : clusters) {
    for (const std::int64_t samples : {1, 2, 3, 4, 5, 8, 21}) {
      SimCluster sim(with_workers(0));
      for (const double weight : weights) sim.add_worker(weight, {});
      sim.advance(100ms);
      const RequestId request = sim.submit({.samples = samples});
      ASSERT_TRUE(sim.run_until_idle(30s));
      ASSERT_TRUE(sim.reply(request)->ok()) << sim.reply(request)->error().message;
      EXPECT_TRUE(sim.result_is_right(request));
    }
  }
}

TEST(ClusterSim, SharesWeightsOf70And30) {
  SimCluster sim(with_workers(0));
  sim.add_worker(70, {});
  sim.add_worker(30, {});
  sim.advance(100ms);
  const RequestId request = sim.submit({.samples = 21, .scheduling = Scheduling::kStatic});
  ASSERT_TRUE(sim.run_until_idle(10s));
  EXPECT_THAT(samples_by_worker(**sim.reply(request)),
              ::testing::UnorderedElementsAre(std::pair{"w0", 15}, std::pair{"w1", 6}));
}

TEST(ClusterSim, RerunsTheShardsOfALostWorkerOnce) {
  SimCluster sim(with_workers(3));
  sim.advance(100ms);
  const RequestId request = sim.submit({.samples = 6, .steps = 20});
  sim.advance(100ms);
  sim.kill_worker(2);
  ASSERT_TRUE(sim.run_until_idle(30s));
  ASSERT_TRUE(sim.reply(request)->ok()) << sim.reply(request)->error().message;
  EXPECT_TRUE(sim.result_is_right(request));
  std::int64_t finished = 0;
  for (const auto& note : sim.notes<note::SamplesFinished>()) finished += note.samples;
  EXPECT_EQ(finished, 6);
  for (const SampleReport& report : (*sim.reply(request))->done.samples)
    EXPECT_NE(report.worker, "w2");
}

TEST(ClusterSim, AStoppedWorkerIsNoticedAndMayComeBack) {
  SimCluster sim(with_workers(2));
  sim.advance(100ms);
  const RequestId request = sim.submit({.samples = 8, .steps = 20});
  sim.advance(100ms);
  sim.stop_worker(1, true);
  ASSERT_TRUE(sim.run_until_idle(30s));
  ASSERT_TRUE(sim.reply(request)->ok());
  EXPECT_TRUE(sim.result_is_right(request));
  sim.stop_worker(1, false);
  sim.advance(5s);
  const RequestId next = sim.submit({.samples = 8});
  ASSERT_TRUE(sim.run_until_idle(30s));
  EXPECT_EQ(samples_by_worker(**sim.reply(next))["w1"], 4) << "it works again";
  EXPECT_TRUE(sim.result_is_right(next));
}

TEST(ClusterSim, WaitsWhenAllWorkersAreGoneAndGoesOnWhenOneIsBack) {
  SimCluster sim(with_workers(2));
  sim.advance(100ms);
  const RequestId request = sim.submit({.samples = 5, .steps = 50});
  sim.advance(200ms);
  sim.kill_worker(0);
  sim.kill_worker(1);
  sim.advance(20s);
  ASSERT_EQ(sim.reply(request), nullptr);
  ASSERT_NE(sim.progress(request), nullptr);
  EXPECT_EQ(sim.progress(request)->waiting_for, "no worker is connected");
  sim.restart_worker(1);
  ASSERT_TRUE(sim.run_until_idle(60s));
  ASSERT_TRUE(sim.reply(request)->ok());
  EXPECT_TRUE(sim.result_is_right(request));
}

TEST(ClusterSim, ADrainedWorkerFinishesWhatItHoldsAndLeaves) {
  SimCluster sim(with_workers(2));
  sim.advance(100ms);
  const RequestId request = sim.submit({.samples = 8, .steps = 10});
  sim.advance(50ms);
  sim.drain_worker(0);
  ASSERT_TRUE(sim.run_until_idle(30s));
  ASSERT_TRUE(sim.reply(request)->ok());
  EXPECT_EQ(samples_by_worker(**sim.reply(request))["w0"], 4);
  sim.advance(1s);
  EXPECT_FALSE(sim.worker_lives(0));
  EXPECT_TRUE(sim.notes<note::ShardLost>().empty());
}

TEST(ClusterSim, CancelEndsARequestAndFreesTheWorkers) {
  SimCluster sim(with_workers(2));
  sim.advance(100ms);
  const RequestId request = sim.submit({.samples = 8, .steps = 1000});
  sim.advance(300ms);
  sim.cancel(request);
  sim.advance(200ms);
  ASSERT_NE(sim.reply(request), nullptr);
  EXPECT_EQ(sim.reply(request)->error().code, Code::kCancelled);
  const RequestId next = sim.submit({.samples = 4});
  ASSERT_TRUE(sim.run_until_idle(1s)) << "the workers are not busy with the cancelled one";
  EXPECT_TRUE(sim.result_is_right(next));
}

TEST(ClusterSim, ADeadlineEndsARequest) {
  SimCluster sim(with_workers(1));
  sim.advance(100ms);
  const RequestId request = sim.submit({.samples = 4, .steps = 1000, .deadline_seconds = 2});
  sim.advance(2500ms);
  ASSERT_NE(sim.reply(request), nullptr);
  EXPECT_EQ(sim.reply(request)->error().code, Code::kDeadline);
}

TEST(ClusterSim, AClientRunsItsRequestAgainOnARestartedCoordinator) {
  SimCluster sim(with_workers(2));
  sim.advance(100ms);
  const RequestId request = sim.submit({.samples = 21, .steps = 20});
  sim.advance(500ms);
  sim.restart_coordinator();
  ASSERT_TRUE(sim.run_until_idle(120s));
  ASSERT_TRUE(sim.reply(request)->ok()) << sim.reply(request)->error().message;
  EXPECT_TRUE(sim.result_is_right(request));
}

TEST(ClusterSim, ForgetsARequestOnceItIsAcknowledged) {
  SimCluster sim(with_workers(2));
  sim.advance(100ms);
  for (int i = 0; i < 5; ++i)
    sim.submit({.samples = 3, .op = Operation::kForward, .row_floats = 300000});
  ASSERT_TRUE(sim.run_until_idle(60s));
  sim.advance(1s);
  EXPECT_EQ(sim.coordinator_bytes(), 0u);
  EXPECT_TRUE(sim.coordinator().status(sim.now()).requests.empty());
}

TEST(ClusterSim, EqualSeedsGiveEqualRuns) {
  const auto run = [](std::uint64_t seed) {
    SimCluster::Options options = with_workers(3);
    options.seed = seed;
    options.network.jitter = 3ms;
    options.network.loss = 0.02;
    SimCluster sim(options);
    sim.advance(2s);
    const RequestId request = sim.submit({.samples = 21});
    EXPECT_TRUE(sim.run_until_idle(120s));
    return std::pair(sim.now(), samples_by_worker(**sim.reply(request)));
  };
  EXPECT_EQ(run(11), run(11));
  EXPECT_NE(run(11).first, run(12).first);
}

}  // namespace
}  // namespace pa
