// A sample that workers die of: it fails after a few of them, and takes no other sample and no other request with it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/sim_cluster.h"

namespace pa {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Death = SimCompute::Death;

constexpr std::int64_t kDeadly = 5;

SimCluster::Options options_of(std::size_t workers, Death death = Death::kExit) {
  SimCluster::Options options;
  options.workers = workers;
  options.speed.deadly = kDeadly;
  options.speed.death = death;
  return options;
}

std::vector<std::int64_t> failed(SimCluster& sim, const RequestId& request) {
  std::vector<std::int64_t> samples;
  for (const SampleReport& sample : sim.reply(request)->value().done.samples) {
    if (sample.failed) samples.push_back(sample.sample);
  }
  return samples;
}

const SampleReport& sample_of(SimCluster& sim, const RequestId& request, std::size_t sample) {
  return sim.reply(request)->value().done.samples[sample];
}

/// Workers that were lost with samples that may have been the reason.
std::size_t deaths(const SimCluster& sim) {
  std::size_t lost = 0;
  for (const auto& note : sim.notes<note::WorkerState>()) lost += note.state == "lost" ? 1 : 0;
  return lost;
}

class Quarantine : public ::testing::TestWithParam<Death> {};

TEST_P(Quarantine, OneSampleFailsAfterThreeWorkersAndTheRestIsDelivered) {
  SimCluster sim(options_of(3, GetParam()));
  sim.advance(1s);
  const RequestId request = sim.submit({.samples = 12, .steps = 20});
  ASSERT_TRUE(sim.run_until_idle(std::chrono::hours{1})) << sim.describe();
  ASSERT_TRUE(sim.reply(request)->ok()) << sim.reply(request)->error().message;
  EXPECT_THAT(failed(sim, request), ElementsAre(kDeadly));
  EXPECT_THAT(sample_of(sim, request, kDeadly).error.message,
              HasSubstr("sample 5 is given up: workers were lost with it 3 times: w"));
  EXPECT_EQ(deaths(sim), 3u);
  const auto given_up = sim.notes<note::SampleGivenUp>();
  ASSERT_THAT(given_up, SizeIs(1));
  EXPECT_EQ(given_up[0].sample, kDeadly);
}

INSTANTIATE_TEST_SUITE_P(Deaths, Quarantine,
                         ::testing::Values(Death::kExit, Death::kBreak, Death::kHang),
                         [](const auto& death) {
                           return death.param == Death::kExit    ? "Exit"
                                  : death.param == Death::kBreak ? "Break"
                                                                 : "Hang";
                         });

TEST(Quarantine, OtherRequestsAreDelivered) {
  SimCluster sim(options_of(2));
  sim.advance(1s);
  const RequestId deadly = sim.submit({.samples = 8, .steps = 20});
  std::vector<RequestId> others;
  for (int i = 0; i < 10; ++i) {
    // None of these has a sample of that index.
    others.push_back(sim.submit({.samples = kDeadly, .steps = 20}));
    sim.advance(200ms);
  }
  ASSERT_TRUE(sim.run_until_idle(std::chrono::hours{1})) << sim.describe();
  EXPECT_THAT(failed(sim, deadly), ElementsAre(kDeadly));
  for (const RequestId& other : others) {
    ASSERT_TRUE(sim.reply(other)->ok()) << sim.reply(other)->error().message;
    EXPECT_TRUE(sim.result_is_right(other));
  }
  EXPECT_EQ(deaths(sim), 3u);
}

TEST(Quarantine, ForwardAndStaticRequestsLikewise) {
  for (const bool forward : {true, false}) {
    SimCluster sim(options_of(2));
    sim.advance(1s);
    const RequestId request =
        sim.submit({.samples = 9,
                    .op = forward ? Operation::kForward : Operation::kSample,
                    .scheduling = forward ? Scheduling::kMeasured : Scheduling::kStatic});
    ASSERT_TRUE(sim.run_until_idle(std::chrono::hours{1})) << sim.describe();
    ASSERT_TRUE(sim.reply(request)->ok()) << sim.reply(request)->error().message;
    EXPECT_THAT(failed(sim, request), ElementsAre(kDeadly));
    EXPECT_EQ(deaths(sim), 3u);
  }
}

TEST(Quarantine, AClusterOfOneWorkerGivesUpAfterFive) {
  SimCluster sim(options_of(1));
  sim.advance(1s);
  const RequestId request = sim.submit({.samples = 6, .steps = 20});
  ASSERT_TRUE(sim.run_until_idle(std::chrono::hours{1})) << sim.describe();
  EXPECT_THAT(failed(sim, request), ElementsAre(kDeadly));
  EXPECT_EQ(deaths(sim), 5u);
}

TEST(Quarantine, ARequestOfNothingElseFailsWithTheReason) {
  SimCluster::Options options = options_of(2);
  options.speed.deadly = 0;
  SimCluster sim(options);
  sim.advance(1s);
  const RequestId request = sim.submit({.samples = 1, .steps = 20});
  ASSERT_TRUE(sim.run_until_idle(std::chrono::hours{1})) << sim.describe();
  ASSERT_FALSE(sim.reply(request)->ok());
  EXPECT_THAT(sim.reply(request)->error().message, HasSubstr("sample 0 is given up"));
}

TEST(Quarantine, IsRememberedOverARestartOfTheCoordinator) {
  SimCluster sim(options_of(3));
  sim.advance(1s);
  const RequestId request = sim.submit({.samples = 60, .steps = 200});
  while (sim.notes<note::SampleGivenUp>().empty()) sim.advance(100ms);
  sim.restart_coordinator();
  const std::size_t before = deaths(sim);
  ASSERT_TRUE(sim.run_until_idle(std::chrono::hours{1})) << sim.describe();
  EXPECT_THAT(failed(sim, request), ElementsAre(kDeadly));
  EXPECT_EQ(deaths(sim), before) << "it ran once more";
}

/// Two workers die by themselves, and the third falls silent for a while: no sample is to blame.
TEST(Quarantine, AWorkerThatComesBackWasNotLost) {
  SimCluster::Options options;
  options.workers = 3;
  options.speed = {.fixed = 50ms, .per_row = 10ms};
  SimCluster sim(options);
  sim.advance(1s);
  const RequestId request = sim.submit({.samples = 6, .steps = 600});
  for (int i = 0; i < 12; ++i) {
    const std::size_t victim = static_cast<std::size_t>(i) % 3;
    sim.advance(1s);
    sim.cut_worker(victim, true);
    sim.advance(6s);
    sim.cut_worker(victim, false);
  }
  ASSERT_TRUE(sim.run_until_idle(std::chrono::hours{1})) << sim.describe();
  ASSERT_TRUE(sim.reply(request)->ok()) << sim.reply(request)->error().message;
  EXPECT_THAT(failed(sim, request), IsEmpty());
  EXPECT_TRUE(sim.result_is_right(request));
}

TEST(Quarantine, ALongPassIsNotAHungOne) {
  SimCluster::Options options;
  options.workers = 1;
  options.speed = {.fixed = 30s, .per_row = 5s};
  SimCluster sim(options);
  sim.advance(1s);
  const RequestId request = sim.submit({.samples = 2, .steps = 6});
  sim.advance(150s);
  options.speed.fixed = 100s;  // Three times as long as it was.
  sim.set_speed(0, options.speed);
  ASSERT_TRUE(sim.run_until_idle(std::chrono::hours{1})) << sim.describe();
  EXPECT_TRUE(sim.result_is_right(request));
  EXPECT_EQ(deaths(sim), 0u);
}

}  // namespace
}  // namespace pa
