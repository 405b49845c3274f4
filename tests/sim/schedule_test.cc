// Scheduling by measured cost in the whole cluster: the real cores and nodes, on simulated time.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "coordinator/core/level.h"
#include "tests/support/sim_cluster.h"

namespace pa {
namespace {

using namespace std::chrono_literals;

constexpr int kSteps = 20;

LevelDevice device(const SimCompute::Speed& speed) {
  return {{to_seconds(speed.fixed), to_seconds(speed.per_row), {}}, speed.max_rows, 0, {}};
}

double bound(const std::vector<SimCompute::Speed>& speeds, std::int64_t samples) {
  std::vector<LevelDevice> devices;
  for (const SimCompute::Speed& speed : speeds) devices.push_back(device(speed));
  return makespan_bound(devices, samples, kSteps);
}

/// Seconds that a request takes its client.
double seconds_of(SimCluster& sim, const SimCluster::Job& job) {
  const RequestId request = sim.submit(job);
  EXPECT_TRUE(sim.run_until_idle(std::chrono::minutes{30})) << sim.describe();
  const Result<Outcome>* const reply = sim.reply(request);
  if (reply == nullptr || !reply->ok()) {
    ADD_FAILURE() << (reply == nullptr ? "no reply" : reply->error().message);
    return 1e9;
  }
  EXPECT_TRUE(sim.result_is_right(request));
  return (*reply)->done.seconds;
}

class ScheduleSim : public ::testing::Test {
 protected:
  void start(const std::vector<SimCompute::Speed>& speeds, bool yields = true) {
    SimCluster::Options options;
    options.workers = 0;
    options.yields = yields;
    sim_ = std::make_unique<SimCluster>(options);
    for (const SimCompute::Speed& speed : speeds) sim_->add_worker(1, speed);
    sim_->advance(100ms);
  }
  /// After a request that lets every device be measured.
  double efficiency(const std::vector<SimCompute::Speed>& speeds, std::int64_t samples,
                    bool yields = true) {
    start(speeds, yields);
    warm_up();
    return bound(speeds, samples) / seconds_of(*sim_, {.samples = samples, .steps = kSteps});
  }
  void warm_up() {
    (void)seconds_of(*sim_, {.samples = 16, .steps = kSteps});
    sim_->advance(1s);
  }

  std::unique_ptr<SimCluster> sim_;
};

const std::vector<SimCompute::Speed> kTwo{{5ms, 10ms, 8}, {5ms, 25ms, 8}};
const std::vector<SimCompute::Speed> kFour{
    {5ms, 10ms, 8}, {5ms, 10ms, 8}, {5ms, 26ms, 8}, {5ms, 80ms, 8}};

TEST_F(ScheduleSim, TwoUnequalDevicesEndTogether) {
  for (const std::int64_t samples : {8, 21, 40}) {
    EXPECT_GE(efficiency(kTwo, samples), 0.93) << samples << " samples";
  }
}

TEST_F(ScheduleSim, FourUnequalDevicesEndTogether) {
  for (const std::int64_t samples : {8, 21, 40}) {
    EXPECT_GE(efficiency(kFour, samples), 0.90) << samples << " samples";
  }
}

TEST_F(ScheduleSim, WithoutMovingTheBestDeviceAloneIsTheLeast) {
  for (const std::int64_t samples : {21, 40}) {
    EXPECT_GE(efficiency(kTwo, samples, false), 0.68) << samples << " samples";
  }
}

TEST_F(ScheduleSim, OneSampleGoesToTheBestDevice) {
  start(kTwo);
  warm_up();
  const RequestId request = sim_->submit({.samples = 1, .steps = kSteps});
  ASSERT_TRUE(sim_->run_until_idle(60s));
  ASSERT_TRUE(sim_->reply(request)->ok());
  EXPECT_EQ((*sim_->reply(request))->done.samples[0].worker, "w0");
  const Accepted& accepted = (*sim_->reply(request))->accepted;
  ASSERT_EQ(accepted.plan.size(), 2u);
  EXPECT_EQ(accepted.plan[0].samples, 1);
  EXPECT_EQ(accepted.plan[1].samples, 0);
  EXPECT_THAT(accepted.plan[1].reason, ::testing::HasSubstr("later than w0"));
  EXPECT_NEAR(accepted.seconds, kSteps * 0.015, 0.03);
}

TEST_F(ScheduleSim, NeverSlowerThanTheBestDeviceAlone) {
  for (const std::int64_t samples : {1, 2, 3, 5}) {
    start(kTwo);
    warm_up();
    const double alone = bound({kTwo[0]}, samples);
    EXPECT_LE(seconds_of(*sim_, {.samples = samples, .steps = kSteps}), 1.02 * alone + 0.01)
        << samples << " samples";
  }
}

TEST_F(ScheduleSim, ASlowDeviceRunsTheFirstStepsOfWhatAFastOneEnds) {
  start({{5ms, 10ms, 1}, {5ms, 40ms, 1}});
  warm_up();
  const double seconds = seconds_of(*sim_, {.samples = 2, .steps = kSteps});
  // Without moving, two samples take 0.6 s: both on the fast device, one after the other.
  EXPECT_LT(seconds, 0.56);
  EXPECT_FALSE(sim_->notes<note::SampleMoved>().empty());
}

TEST_F(ScheduleSim, ADeviceThatBecomesSlowInMidRequestIsRelieved) {
  start({{5ms, 10ms, 8}, {5ms, 10ms, 8}});
  warm_up();
  const RequestId request = sim_->submit({.samples = 64, .steps = kSteps});
  sim_->advance(1500ms);
  const SimCompute::Speed slow{15ms, 30ms, 8};
  sim_->set_speed(1, slow);
  ASSERT_TRUE(sim_->run_until_idle(600s));
  ASSERT_TRUE(sim_->reply(request)->ok());
  EXPECT_TRUE(sim_->result_is_right(request));
  const double all = 64.0 * kSteps;
  const double before = 2 * 8 / 0.085;
  const double after = 8 / 0.085 + 8 / 0.255;
  const double known = 1.5 + (all - 1.5 * before) / after;
  EXPECT_LE((*sim_->reply(request))->done.seconds, 1.08 * known);
}

TEST_F(ScheduleSim, ADeviceThatWasSlowOnceIsTriedAgain) {
  const SimCompute::Speed fast{5ms, 10ms, 8};
  start({fast, fast});
  warm_up();
  sim_->set_speed(1, {20s, 20s, 8});  // One pass takes longer than a request.
  (void)seconds_of(*sim_, {.samples = 24, .steps = kSteps});
  sim_->set_speed(1, fast);
  const auto part_of_second = [&] {
    const RequestId request = sim_->submit({.samples = 24, .steps = kSteps});
    EXPECT_TRUE(sim_->run_until_idle(600s));
    const auto& samples = (*sim_->reply(request))->done.samples;
    return static_cast<double>(
               std::count_if(samples.begin(), samples.end(),
                             [](const SampleReport& sample) { return sample.worker == "w1"; })) /
           24;
  };
  (void)part_of_second();
  sim_->advance(61s);
  for (int i = 0; i < 5; ++i) (void)part_of_second();  // Its cost is learned over some passes.
  EXPECT_GT(part_of_second(), 0.4);
}

TEST_F(ScheduleSim, ADeviceThatJoinsInMidRequestIsUsed) {
  start({{5ms, 10ms, 8}});
  warm_up();
  const RequestId request = sim_->submit({.samples = 32, .steps = kSteps});
  sim_->advance(500ms);
  const std::size_t late = sim_->add_worker(1, {5ms, 10ms, 8});
  EXPECT_EQ(late, 1u);
  ASSERT_TRUE(sim_->run_until_idle(600s));
  ASSERT_TRUE(sim_->reply(request)->ok());
  const double all = 32.0 * kSteps;
  const double rate = 8 / 0.085;
  EXPECT_LE((*sim_->reply(request))->done.seconds, 1.1 * (0.5 + (all - 0.5 * rate) / (2 * rate)));
}

TEST_F(ScheduleSim, ALostDeviceCostsWhatItHadDoneSinceTheLastCheckpoint) {
  start({{5ms, 10ms, 8}, {5ms, 10ms, 8}});
  warm_up();
  const RequestId request = sim_->submit({.samples = 32, .steps = kSteps});
  sim_->advance(1s);
  sim_->kill_worker(1);
  ASSERT_TRUE(sim_->run_until_idle(600s));
  ASSERT_TRUE(sim_->reply(request)->ok());
  EXPECT_TRUE(sim_->result_is_right(request));
}

TEST_F(ScheduleSim, RowsThatFindNoMemoryAreNotTriedAgain) {
  SimCompute::Speed small{5ms, 10ms, 8};
  small.memory_rows = 3;
  start({{5ms, 10ms, 8}, small});
  warm_up();
  const double seconds = seconds_of(*sim_, {.samples = 32, .steps = kSteps});
  EXPECT_LE(seconds, 1.35 * bound({{5ms, 10ms, 8}, {5ms, 10ms, 3}}, 32));
}

TEST_F(ScheduleSim, SmallRequestsDoNotWaitForHugeOnes) {
  start({{5ms, 10ms, 8}, {5ms, 10ms, 8}});
  warm_up();
  const RequestId huge = sim_->submit({.samples = 400, .steps = kSteps});
  sim_->advance(1s);
  const RequestId small = sim_->submit({.samples = 2, .steps = kSteps});
  sim_->advance(6s);
  ASSERT_NE(sim_->reply(small), nullptr) << "it waits behind the huge one";
  EXPECT_EQ(sim_->reply(huge), nullptr);
  ASSERT_TRUE(sim_->run_until_idle(600s));
  EXPECT_TRUE(sim_->result_is_right(huge));
}

TEST_F(ScheduleSim, ADeadlineThatCannotBeMetIsRefusedWithTheEstimate) {
  start(kTwo);
  warm_up();
  const RequestId request =
      sim_->submit({.samples = 100, .steps = kSteps, .deadline_seconds = 0.5});
  ASSERT_TRUE(sim_->run_until_idle(10s));
  ASSERT_FALSE(sim_->reply(request)->ok());
  EXPECT_EQ(sim_->reply(request)->error().code, Code::kDeadline);
  EXPECT_THAT(sim_->reply(request)->error().message, ::testing::HasSubstr("at least"));
}

TEST_F(ScheduleSim, AHigherPriorityGoesFirst) {
  start({{5ms, 10ms, 8}});
  warm_up();
  const RequestId low = sim_->submit({.samples = 64, .steps = kSteps});
  sim_->advance(100ms);
  const RequestId high = sim_->submit({.samples = 8, .steps = kSteps, .priority = 5});
  sim_->advance(4500ms);
  EXPECT_NE(sim_->reply(high), nullptr);
  EXPECT_EQ(sim_->reply(low), nullptr);
  ASSERT_TRUE(sim_->run_until_idle(600s));
}

TEST_F(ScheduleSim, ForwardRowsAreSplitSoThatAllEndAtOnce) {
  start(kTwo);
  for (int i = 0; i < 2; ++i) {
    (void)seconds_of(*sim_, {.samples = 8, .op = Operation::kForward});
    sim_->advance(500ms);
  }
  const RequestId request = sim_->submit({.samples = 7, .op = Operation::kForward});
  ASSERT_TRUE(sim_->run_until_idle(60s));
  ASSERT_TRUE(sim_->reply(request)->ok());
  std::map<std::string, int> shares;
  for (const SampleReport& report : (*sim_->reply(request))->done.samples) ++shares[report.worker];
  EXPECT_EQ(shares["w0"], 5);
  EXPECT_EQ(shares["w1"], 2);
}

TEST_F(ScheduleSim, WeightsAndModeChangeInMidRequest) {
  start({{5ms, 10ms, 8}, {5ms, 10ms, 8}});
  const RequestId request = sim_->submit({.samples = 64, .steps = kSteps});
  sim_->advance(500ms);
  sim_->tell(event::WeightsChanged{{{"w0", 1.0}, {"w1", 0.0}}, Scheduling::kStatic});
  ASSERT_TRUE(sim_->run_until_idle(600s));
  ASSERT_TRUE(sim_->reply(request)->ok());
  EXPECT_TRUE(sim_->result_is_right(request));
  std::map<std::string, int> shares;
  for (const SampleReport& report : (*sim_->reply(request))->done.samples) ++shares[report.worker];
  EXPECT_LE(shares["w1"], 16) << "it got no more once its weight was 0";
}

TEST_F(ScheduleSim, WhatWasLearnedOutlivesTheCoordinator) {
  start(kTwo);
  warm_up();
  SimCluster::Options options;
  options.workers = 0;
  options.coordinator.costs = sim_->coordinator().costs().save();
  sim_ = std::make_unique<SimCluster>(options);
  for (const SimCompute::Speed& speed : kTwo) sim_->add_worker(1, speed);
  sim_->advance(100ms);
  EXPECT_GE(bound(kTwo, 21) / seconds_of(*sim_, {.samples = 21, .steps = kSteps}), 0.93);
}

}  // namespace
}  // namespace pa
