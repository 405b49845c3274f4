// Several models on devices that have memory for one: who loads what, and when.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/sim_cluster.h"

namespace pa {
namespace {

using namespace std::chrono_literals;

constexpr Duration kLoad = 4s;

class AffinitySim : public ::testing::Test {
 protected:
  explicit AffinitySim(std::size_t workers = 2) {
    SimCluster::Options options;
    options.workers = workers;
    options.speed = {5ms, 10ms, 4};
    options.speed.load = kLoad;
    options.models = {"sim", "other"};
    sim_ = std::make_unique<SimCluster>(options);
    sim_->advance(1s);
  }
  /// All that were submitted have come out right.
  void expect_right(const std::vector<RequestId>& requests) {
    for (const RequestId& request : requests) {
      ASSERT_NE(sim_->reply(request), nullptr) << sim_->describe();
      EXPECT_TRUE(sim_->reply(request)->ok());
      EXPECT_TRUE(sim_->result_is_right(request));
    }
  }

  std::unique_ptr<SimCluster> sim_;
};

TEST_F(AffinitySim, WorkersKeepToTheirModels) {
  std::vector<RequestId> requests;
  for (int i = 0; i < 60; ++i) {
    requests.push_back(
        sim_->submit({.samples = 8, .steps = 20, .model = i % 2 == 0 ? "sim" : "other"}));
  }
  ASSERT_TRUE(sim_->run_until_idle(10min)) << sim_->describe();
  expect_right(requests);
  // Both begin with "sim"; one goes over to the other, and may come back at the end.
  EXPECT_LE(sim_->loads(), 3);
}

TEST_F(AffinitySim, ABusyWorkerReadsAheadWhatWaitsForIt) {
  const RequestId first = sim_->submit({.samples = 100, .steps = 20, .model = "sim"});
  sim_->advance(kLoad + 1s);
  EXPECT_TRUE(sim_->prefetched(0).empty());
  std::vector<RequestId> requests{first};
  for (int i = 0; i < 2; ++i)
    requests.push_back(sim_->submit({.samples = 100, .steps = 20, .model = "other"}));
  sim_->advance(100ms);
  EXPECT_EQ(sim_->prefetched(0), std::vector<std::string>{"other"});
  EXPECT_EQ(sim_->prefetched(1), std::vector<std::string>{"other"});
  ASSERT_TRUE(sim_->run_until_idle(10min)) << sim_->describe();
  expect_right(requests);
}

TEST_F(AffinitySim, NobodyWaitsForever) {
  const RequestId other = sim_->submit({.samples = 4, .steps = 20, .model = "other"});
  std::vector<RequestId> requests{other};
  const TimePoint begin = sim_->now();
  // More of "sim" than both can do, all the time.
  while (sim_->reply(other) == nullptr && sim_->now() - begin < 2min) {
    requests.push_back(sim_->submit({.samples = 8, .steps = 20, .model = "sim"}));
    sim_->advance(500ms);
  }
  EXPECT_NE(sim_->reply(other), nullptr);
  EXPECT_LT(sim_->now() - begin, 8 * kLoad);
  ASSERT_TRUE(sim_->run_until_idle(10min)) << sim_->describe();
  expect_right(requests);
}

TEST_F(AffinitySim, ALittleWorkIsNotWorthLoading) {
  ASSERT_TRUE(sim_->run_until_idle(1min));
  const RequestId first = sim_->submit({.samples = 1, .steps = 20, .model = "other"});
  ASSERT_TRUE(sim_->run_until_idle(1min));
  EXPECT_EQ(sim_->loads(), 1);
  // The one that has it is done with these before the other could begin.
  const RequestId second = sim_->submit({.samples = 8, .steps = 20, .model = "other"});
  ASSERT_TRUE(sim_->run_until_idle(1min));
  EXPECT_EQ(sim_->loads(), 1);
  // Here both are wanted.
  const RequestId third = sim_->submit({.samples = 200, .steps = 20, .model = "other"});
  ASSERT_TRUE(sim_->run_until_idle(5min));
  EXPECT_EQ(sim_->loads(), 2);
  expect_right({first, second, third});
}

TEST_F(AffinitySim, APlanSaysWhoHasToLoad) {
  const RequestId first = sim_->submit({.samples = 100, .steps = 20, .model = "other"});
  ASSERT_TRUE(sim_->run_until_idle(5min));
  const RequestId second = sim_->submit({.samples = 1, .steps = 20, .model = "sim"});
  ASSERT_TRUE(sim_->run_until_idle(5min));
  const RequestId third = sim_->submit({.samples = 1, .steps = 20, .model = "sim"});
  ASSERT_TRUE(sim_->run_until_idle(5min));
  expect_right({first, second, third});
  const std::vector<PlanShare> plan = sim_->notes<note::RequestAccepted>().back().plan;
  ASSERT_EQ(plan.size(), 2U);
  const PlanShare& idle = plan[0].samples == 0 ? plan[0] : plan[1];
  EXPECT_THAT(idle.reason, ::testing::HasSubstr("its model loaded first, in 4"));
}

TEST_F(AffinitySim, ARequestMayNameItsWorkers) {
  const RequestId request = sim_->submit({.samples = 40, .steps = 20, .workers = {"w1"}});
  ASSERT_TRUE(sim_->run_until_idle(1min)) << sim_->describe();
  expect_right({request});
  for (const SampleReport& sample : (*sim_->reply(request))->done.samples)
    EXPECT_EQ(sample.worker, "w1");
  const RequestId wrong = sim_->submit({.samples = 1, .workers = {"w2"}});
  ASSERT_TRUE(sim_->run_until_idle(1min));
  ASSERT_NE(sim_->reply(wrong), nullptr);
  ASSERT_FALSE(sim_->reply(wrong)->ok());
  EXPECT_THAT(sim_->reply(wrong)->error().message, ::testing::HasSubstr("no worker 'w2'"));
}

}  // namespace
}  // namespace pa
