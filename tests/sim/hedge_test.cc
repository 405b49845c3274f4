// Devices that get stuck in a pass: what they had is begun again on idle ones, and the first result counts.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/sim_cluster.h"

namespace pa {
namespace {

using namespace std::chrono_literals;

constexpr int kSteps = 20;
const SimCompute::Speed kFast{5ms, 45ms, 2};   ///< A sample in 1 s.
const SimCompute::Speed kNext{5ms, 48ms, 2};   ///< Almost as fast: it is not preferred.
const SimCompute::Speed kSlow{5ms, 295ms, 2};  ///< A sample in 6 s.

class HedgeSim : public ::testing::Test {
 protected:
  /// With both measured.
  void start(const SimCompute::Speed& first, const SimCompute::Speed& second, double sharing = 0) {
    SimCluster::Options options;
    options.workers = 0;
    options.network.bytes_per_second = 1e7;
    options.network.sharing = sharing;
    options.streams.chunk_bytes = 1 << 12;
    options.coordinator.checkpoint_interval = 1h;
    sim_ = std::make_unique<SimCluster>(options);
    sim_->add_worker(1, first);
    sim_->add_worker(1, second);
    sim_->advance(100ms);
    (void)sim_->submit({.samples = 16, .steps = kSteps});
    ASSERT_TRUE(sim_->run_until_idle(10min));
    sim_->advance(1s);
  }
  /// One sample that runs on the first worker, which is stuck for `stall` after `before`.
  void run_one(Duration before, Duration stall) {
    request_ = sim_->submit({.samples = 1, .steps = kSteps, .row_floats = 50'000});
    sim_->advance(before);
    sim_->stall_worker(0, stall);
    ASSERT_TRUE(sim_->run_until_idle(10min)) << sim_->describe();
    ASSERT_TRUE(sim_->reply(request_)->ok());
    EXPECT_TRUE(sim_->result_is_right(request_));
  }
  [[nodiscard]] const Done& done() const { return (*sim_->reply(request_))->done; }

  std::unique_ptr<SimCluster> sim_;
  RequestId request_;
};

TEST_F(HedgeSim, AnIdleDeviceRunsWhatAStuckOneHad) {
  start(kFast, kNext);
  run_one(500ms, 9s);
  EXPECT_EQ(sim_->notes<note::SampleHedged>().size(), 1u);
  EXPECT_EQ(done().samples[0].worker, "w1");
  // It is late after a second, which a heartbeat tells; a sample takes one.
  EXPECT_LT(done().seconds, 0.5 + 1.6 + 1.1);
}

TEST_F(HedgeSim, TheLateOneMayBeFirstAllTheSame) {
  start(kFast, kSlow);
  run_one(500ms, 2s);
  EXPECT_EQ(sim_->notes<note::SampleHedged>().size(), 1u);
  EXPECT_EQ(done().samples[0].worker, "w0");
  EXPECT_EQ(done().samples[0].attempts, 1);
  EXPECT_LT(done().seconds, 1 + 2 + 0.2);
}

TEST_F(HedgeSim, TheLateOneMayEndItInThatPass) {
  start(kFast, kSlow);
  run_one(980ms, 4s);  // In the last one.
  EXPECT_EQ(sim_->notes<note::SampleHedged>().size(), 1u);
  EXPECT_EQ(done().samples[0].worker, "w0");
  EXPECT_EQ(done().samples[0].attempts, 1);
  EXPECT_LT(done().seconds, 1 + 4 + 0.1);
}

TEST_F(HedgeSim, TheLateOneGoesOnIfTheOtherIsFarBehind) {
  start(kFast, {5ms, 3s, 2});
  run_one(500ms, 2s);
  EXPECT_EQ(sim_->notes<note::SampleHedged>().size(), 1u);
  EXPECT_EQ(done().samples[0].worker, "w0");
  EXPECT_LT(done().seconds, 1 + 2 + 0.1);
}

TEST_F(HedgeSim, BothMayEndAtOnce) {
  std::set<std::string> first;
  for (Duration stall = 2095ms; stall < 2130ms; stall += 500us) {
    start(kFast, kNext);
    run_one(980ms, stall);
    first.insert(done().samples[0].worker);
  }
  EXPECT_THAT(first, ::testing::ElementsAre("w0", "w1"));
}

TEST_F(HedgeSim, BothMayEndAtOnceAndWriteToSharedMemory) {
  std::set<std::string> first;
  for (Duration stall = 2124ms; stall < 2126ms; stall += 10us) {
    start(kFast, kNext, 1);
    run_one(980ms, stall);
    first.insert(done().samples[0].worker);
  }
  EXPECT_THAT(first, ::testing::ElementsAre("w0", "w1"));
}

TEST_F(HedgeSim, WhoIsStuckLosesAllThatItHad) {
  start(kFast, kNext);
  request_ = sim_->submit({.samples = 4, .steps = kSteps});
  sim_->advance(300ms);
  sim_->stall_worker(0, 9s);
  ASSERT_TRUE(sim_->run_until_idle(10min)) << sim_->describe();
  EXPECT_TRUE(sim_->result_is_right(request_));
  EXPECT_GE(sim_->notes<note::SampleHedged>().size(), 1u);
  // The other runs two at a time: two begun at once, and two once it is idle.
  EXPECT_LT(done().seconds, 2 * 2.2);
}

TEST_F(HedgeSim, AShortDelayIsNothing) {
  start(kFast, kNext);
  run_one(500ms, 700ms);
  EXPECT_TRUE(sim_->notes<note::SampleHedged>().empty());
  EXPECT_LT(done().seconds, 1 + 0.7 + 0.2);
}

TEST_F(HedgeSim, ADeviceThatIsStuckForGoodIsStartedAnew) {
  start(kFast, kNext);
  run_one(500ms, 1h);
  EXPECT_EQ(done().samples[0].worker, "w1");
  sim_->advance(12s);  // Its pass has a lease, also when nobody waits for it.
  const auto states = sim_->notes<note::WorkerState>();
  EXPECT_TRUE(std::any_of(states.begin(), states.end(), [](const note::WorkerState& note) {
    return note.worker == "w0" && note.reason.starts_with("made no progress");
  }));
  request_ = sim_->submit({.samples = 8, .steps = kSteps});
  ASSERT_TRUE(sim_->run_until_idle(10min)) << sim_->describe();
  EXPECT_TRUE(sim_->result_is_right(request_));
}

TEST_F(HedgeSim, AStuckDeviceGetsNothing) {
  start(kFast, kNext);
  run_one(500ms, 9s);
  const std::size_t before = sim_->notes<note::ShardAssigned>().size();
  request_ = sim_->submit({.samples = 4, .steps = kSteps});
  ASSERT_TRUE(sim_->run_until_idle(10min));
  const auto assigned = sim_->notes<note::ShardAssigned>();
  for (std::size_t i = before; i < assigned.size(); ++i) EXPECT_EQ(assigned[i].worker, "w1");
  EXPECT_THAT(done().samples, ::testing::Each(::testing::Field(&SampleReport::worker, "w1")));
}

}  // namespace
}  // namespace pa
