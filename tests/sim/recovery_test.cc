// What a coordinator that was killed goes on with, when its journal outlives it.

#include <gtest/gtest.h>

#include "tests/support/sim_cluster.h"

namespace pa {
namespace {

using namespace std::chrono_literals;

SimCluster::Options durable(bool on = true) {
  SimCluster::Options options;
  options.workers = 2;
  options.durable_journal = on;
  return options;
}

std::int64_t samples_run(const SimCluster& sim) {
  std::int64_t count = 0;
  for (const auto& note : sim.notes<note::SamplesFinished>()) count += note.samples;
  return count;
}

TEST(Recovery, FinishesARequestWhoseClientIsGone) {
  SimCluster sim(durable());
  sim.advance(100ms);
  const RequestId request = sim.submit({.samples = 8, .steps = 20});
  sim.advance(200ms);
  sim.kill_client(request);
  sim.restart_coordinator();
  ASSERT_EQ(sim.notes<note::RequestRecovered>().size(), 1u);
  sim.advance(60s);
  ASSERT_EQ(sim.notes<note::RequestFinished>().size(), 1u);
  EXPECT_EQ(sim.notes<note::RequestFinished>()[0].outcome, "ok");
}

TEST(Recovery, DoesNotRunFinishedSamplesAgain) {
  SimCluster::Options options = durable();
  options.credit_samples = 2;
  SimCluster sim(options);
  sim.advance(100ms);
  const RequestId request = sim.submit({.samples = 20, .steps = 20});
  while (samples_run(sim) < 9) sim.advance(10ms);
  const std::int64_t before = samples_run(sim);
  ASSERT_LT(before, 20);
  sim.restart_coordinator();
  EXPECT_EQ(sim.notes<note::RequestRecovered>().at(0).finished, before);
  ASSERT_TRUE(sim.run_until_idle(120s));
  ASSERT_TRUE(sim.reply(request)->ok()) << sim.reply(request)->error().message;
  EXPECT_TRUE(sim.result_is_right(request));
  EXPECT_EQ(samples_run(sim), 20);
}

TEST(Recovery, ForgetsEverythingWithoutAJournal) {
  SimCluster sim(durable(false));
  sim.advance(100ms);
  const RequestId request = sim.submit({.samples = 8, .steps = 20});
  sim.advance(200ms);
  sim.kill_client(request);
  sim.restart_coordinator();
  sim.advance(60s);
  EXPECT_TRUE(sim.notes<note::RequestRecovered>().empty());
  EXPECT_TRUE(sim.notes<note::RequestFinished>().empty());
}

TEST(Recovery, KeepsAResultForAClientThatComesLate) {
  SimCluster sim(durable());
  sim.advance(100ms);
  const RequestId request = sim.submit({.samples = 4, .steps = 5});
  sim.advance(50ms);
  sim.cut_client(request, true);
  sim.advance(20s);
  ASSERT_EQ(sim.notes<note::RequestFinished>().size(), 1u);
  sim.restart_coordinator();
  EXPECT_TRUE(sim.notes<note::RequestRecovered>().at(0).ended);
  sim.cut_client(request, false);
  ASSERT_TRUE(sim.run_until_idle(120s));
  ASSERT_TRUE(sim.reply(request)->ok()) << sim.reply(request)->error().message;
  EXPECT_TRUE(sim.result_is_right(request));
  EXPECT_EQ(samples_run(sim), 4);
}

TEST(Recovery, ForgetsAnAcknowledgedRequestForGood) {
  SimCluster sim(durable());
  sim.advance(100ms);
  sim.submit({.samples = 4, .steps = 5});
  ASSERT_TRUE(sim.run_until_idle(60s));
  sim.advance(1s);
  sim.restart_coordinator();
  EXPECT_TRUE(sim.notes<note::RequestRecovered>().empty());
  EXPECT_EQ(sim.coordinator_bytes(), 0u);
}

TEST(Recovery, SurvivesBeingKilledAgainAndAgain) {
  SimCluster sim(durable());
  sim.advance(100ms);
  std::vector<RequestId> requests;
  for (int i = 0; i < 6; ++i) requests.push_back(sim.submit({.samples = 7, .steps = 15}));
  for (int i = 0; i < 12; ++i) {
    sim.advance(700ms);
    sim.restart_coordinator();
  }
  ASSERT_TRUE(sim.run_until_idle(240s)) << sim.describe();
  for (const RequestId& request : requests) {
    ASSERT_TRUE(sim.reply(request)->ok()) << sim.reply(request)->error().message;
    EXPECT_TRUE(sim.result_is_right(request));
  }
}

}  // namespace
}  // namespace pa
