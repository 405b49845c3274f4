// Workers of a coordinator: how they join, what they are given, and how they are lost.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shared/wire/codec.h"
#include "tests/unit/coordinator/coordinator_harness.h"

namespace pa {
namespace {

using namespace std::chrono_literals;
using test::CoordinatorHarness;

TEST(CoordinatorWorkers, GivesTheSamplesOfALostWorkerToTheOthersOnce) {
  CoordinatorHarness h;
  h.join(1, 1);
  h.join(2, 1);
  h.submit(1, 8);
  const Assign lost = h.assigns(2)[0];
  h.deliver(2, lost, 0, 1);
  h.feed(event::PeerGone{PeerId{202}});
  ASSERT_EQ(h.assigns(1).size(), 2u);
  EXPECT_EQ(h.assigns(1)[1].samples, (std::vector<std::int64_t>{5, 6, 7}));
  EXPECT_EQ(h.assigns(1)[1].attempt, 2);

  // What the lost worker still says of its shard counts no more.
  h.deliver(2, lost, 1, 3);
  EXPECT_EQ(h.last<Done>(), nullptr);
  h.deliver_all(1, h.assigns(1)[0]);
  h.deliver_all(1, h.assigns(1)[1]);
  ASSERT_NE(h.last<Done>(), nullptr);
  EXPECT_EQ(h.last<Done>()->samples[4].worker, "w2");
  EXPECT_EQ(h.last<Done>()->samples[5].worker, "w1");
  EXPECT_EQ(h.last<Done>()->samples[5].attempts, 2);
}

TEST(CoordinatorWorkers, SuspectsThenLosesASilentWorker) {
  CoordinatorHarness h;
  h.join(1, 1);
  h.join(2, 1);
  h.submit(1, 2);
  h.advance(1s);
  h.feed(event::FromWorker{PeerId{101}, false,
                           Heartbeat{WorkerId{1}, 0, 0, 0, {}, {h.assigns(1)[0].shard}}});
  h.advance(600ms);  // worker 2 is silent for 1.6 s
  h.submit(2, 2);
  EXPECT_EQ(h.assigns(1).back().samples.size(), 2u) << "a suspect worker gets no new work";
  h.feed(event::FromWorker{PeerId{101}, false,
                           Heartbeat{WorkerId{1}, 1, 0, 0, {}, {h.assigns(1)[0].shard}}});
  h.advance(1400ms);  // 3 s
  EXPECT_EQ(h.assigns(1).back().request, (RequestId{0, 1})) << "its sample went to worker 1";
}

TEST(CoordinatorWorkers, TriesWhetherALateWorkerIsThere) {
  CoordinatorHarness h;
  h.join(1, 1);
  h.advance(600ms);
  EXPECT_EQ(h.last<HeartbeatAck>(), nullptr);
  h.advance(50ms);
  ASSERT_NE(h.last<HeartbeatAck>(), nullptr);
  h.actions.clear();
  h.advance(200ms);
  EXPECT_EQ(h.last<HeartbeatAck>(), nullptr) << "once is enough";
  h.feed(event::FromWorker{PeerId{101}, false, Heartbeat{WorkerId{1}}});
  h.actions.clear();
  h.advance(650ms);
  EXPECT_NE(h.last<HeartbeatAck>(), nullptr) << "and once again after it was heard";
}

TEST(CoordinatorWorkers, GivesAWorkerOnAnotherBoxMoreTime) {
  CoordinatorHarness h;
  h.join(1, 1);
  h.join(2, 1, 64, 1, "w*");
  h.advance(2999ms);
  EXPECT_EQ(h.workers().size(), 2u);
  h.advance(1ms);
  EXPECT_EQ(h.workers().size(), 1u);
  h.advance(1999ms);
  EXPECT_EQ(h.workers().size(), 1u);
  h.advance(1ms);
  EXPECT_EQ(h.workers().size(), 0u);
}

TEST(CoordinatorWorkers, WaitsForAWorkerIfAllAreGone) {
  CoordinatorHarness h;
  h.join(1, 1);
  h.submit(1, 3);
  h.feed(event::FromWorker{PeerId{101}, false, Bye{WorkerId{1}}});
  h.advance(200ms);
  ASSERT_NE(h.last<RequestProgress>(), nullptr);
  EXPECT_EQ(h.last<RequestProgress>()->waiting_for, "no worker is connected");
  h.join(2, 1);
  ASSERT_EQ(h.assigns(2).size(), 1u);
  h.deliver_all(2, h.assigns(2)[0]);
  ASSERT_NE(h.last<Done>(), nullptr);
}

TEST(CoordinatorWorkers, TakesRequestsWhileItsOnlyWorkerIsStartedAgain) {
  CoordinatorHarness h;
  h.join(1, 1);
  h.feed(event::FromWorker{PeerId{101}, false, Bye{WorkerId{1}}});
  h.advance(59s);
  h.submit(1, 3);
  EXPECT_EQ(h.last<Refused>(), nullptr);
  h.join(2, 1);
  ASSERT_EQ(h.assigns(2).size(), 1u);
  h.deliver_all(2, h.assigns(2)[0]);
  EXPECT_NE(h.last<Done>(), nullptr);

  h.feed(event::FromWorker{PeerId{102}, false, Bye{WorkerId{2}}});
  h.advance(60s);
  h.submit(2, 3);
  ASSERT_NE(h.last<Refused>(), nullptr) << "nobody is expected to come back any more";
  EXPECT_EQ(h.last<Refused>()->error.message, "no worker is live");
}

TEST(CoordinatorWorkers, KeepsTwoLiveWorkersOfOneNameApart) {
  CoordinatorHarness h;
  h.join(1, 1);
  Hello twin;
  twin.name = "w1";
  twin.boot = 2;
  h.feed(event::FromWorker{PeerId{150}, false, twin});
  ASSERT_NE(h.last<Rejected>(), nullptr);
  EXPECT_EQ(h.last<Rejected>()->error.code, Code::kOverloaded);
  h.advance(1600ms);
  h.actions.clear();
  h.feed(event::FromWorker{PeerId{150}, false, twin});
  EXPECT_NE(h.last<Welcome>(), nullptr) << "the silent one is replaced";
}

TEST(CoordinatorWorkers, LosesAShardThatItsWorkerDoesNotHold) {
  CoordinatorHarness h;
  h.join(1, 1);
  h.submit(1, 2);
  h.advance(1s);
  h.feed(event::FromWorker{PeerId{101}, false, Heartbeat{WorkerId{1}, 0, 0, 0, {}, {}}});
  EXPECT_EQ(h.assigns(1).size(), 1u) << "the Assign may be on its way";
  h.advance(1s);
  h.feed(event::FromWorker{PeerId{101}, false, Heartbeat{WorkerId{1}, 1, 0, 0, {}, {}}});
  EXPECT_EQ(h.assigns(1).size(), 2u);
}

TEST(CoordinatorWorkers, AnswersStrangersWithRehello) {
  CoordinatorHarness h;
  h.feed(event::FromWorker{PeerId{9}, false, Heartbeat{}});
  EXPECT_NE(h.last<Rehello>(), nullptr);
}

TEST(CoordinatorWorkers, MovesWaitingSamplesWhenWeightsChange) {
  CoordinatorHarness h;
  h.join(1, 1, /*credit=*/1);
  h.join(2, 1, /*credit=*/1);
  h.submit(1, 10);
  h.feed(event::WeightsChanged{{{"w2", 0}}});
  h.deliver_all(2, h.assigns(2)[0]);
  EXPECT_EQ(h.assigns(2).size(), 1u) << "weight 0 gets nothing more";
  for (std::size_t i = 0; i < 9; ++i) h.deliver_all(1, h.assigns(1)[i]);
  ASSERT_NE(h.last<Done>(), nullptr);
}

TEST(CoordinatorWorkers, TheStatusOfAThousandWorkersComesInPartsThatFitMessages) {
  CoordinatorHarness harness;
  constexpr std::uint64_t kWorkers = 1000;
  for (std::uint64_t n = 1; n <= kWorkers; ++n) {
    Hello hello;
    hello.boot = n;
    hello.name = "box" + std::to_string(n) + ":cuda:0";
    hello.device = "cuda:0";
    for (int m = 0; m < 10; ++m) {
      ModelInfo model;
      model.name = "model-" + std::to_string(m);
      model.identity = "sha256:" + std::string(64, 'a');
      model.family = "flux";
      model.inputs = {{"context", DType::kBF16, {-1, 4096}, true}, {"y", DType::kBF16, {768}}};
      model.colours.assign(51, 0.1);
      hello.models.push_back(model);
    }
    harness.feed(event::FromWorker{PeerId{n}, false, hello});
  }
  harness.actions.clear();
  harness.feed(event::FromClient{PeerId{5000}, StatusQuery{9}});
  std::uint64_t workers = 0;
  std::uint64_t parts = 0;
  bool more = true;
  for (const Action& action : harness.actions) {
    const auto* send = std::get_if<action::Send>(&action);
    const auto* status = send ? std::get_if<ClusterStatus>(&send->message) : nullptr;
    if (status == nullptr) continue;
    EXPECT_EQ(status->tag, 9U);
    EXPECT_EQ(status->part, parts++);
    EXPECT_TRUE(more) << "something followed the last part";
    more = status->more;
    workers += status->workers.size();
    EXPECT_LT(encode(*status).size(), 1U << 20);
  }
  EXPECT_FALSE(more);
  EXPECT_GT(parts, 1U);
  EXPECT_EQ(workers, kWorkers);
}

TEST(CoordinatorWorkers, AHelloWithHundredsOfModelsFitsControl) {
  Hello hello;
  hello.name = "box:cuda:0";
  for (int m = 0; m < 500; ++m) {
    ModelInfo model;
    model.name = "a-model-with-a-long-name-" + std::to_string(m);
    model.identity = "sha256:" + std::string(64, 'a');
    model.family = "flux";
    model.inputs = {{"context", DType::kBF16, {-1, 4096}, true}, {"y", DType::kBF16, {768}}};
    hello.models.push_back(model);
  }
  EXPECT_LT(encode(hello).size(), 1U << 20);
}

}  // namespace
}  // namespace pa
