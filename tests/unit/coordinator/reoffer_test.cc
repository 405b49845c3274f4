// Every answer that a worker can get which attaches with work of an earlier session.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/core/coordinator.h"

namespace pa {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::uint64_t kEpoch = 5;
constexpr std::uint64_t kEarlierRun = (4ull << 32) + 3;
constexpr ShardId kShard{(4ull << 32) + 17};  // Of the earlier life.

/// A coordinator in its fifth life, which recovered a request of four samples: the first is done.
class Reoffers : public ::testing::Test {
 protected:
  Reoffers()
      : core_([] {
          CoordinatorOptions options;
          options.epoch = kEpoch;
          options.durable = true;
          return options;
        }()) {
    Request body;
    body.model = "noop";
    body.samples = 4;
    body.latent_shape = {1, 1, 4};
    body.schedule = ScheduleSpec{"simple", 10, 1.0};
    Submit submit;
    submit.request = request_;
    SampleReport done;
    done.worker = "w1";
    feed(event::Recovered{submit, body, model(), {done}, {}, {}});
  }

  static ModelInfo model() {
    ModelInfo model;
    model.name = "noop";
    model.family = "noop";
    model.identity = "sha256:0";
    return model;
  }

  void feed(const Event& event) {
    core_.step(event, now_, actions_);
    core_.check_invariants();
  }
  void advance(Duration by) {
    now_ += by;
    feed(event::Tick{});
  }

  /// Worker n attaches with these offers; what it may keep.
  std::vector<KeptShard> attach(std::uint64_t n, std::vector<OfferedShard> offers) {
    Hello hello;
    hello.boot = 1;
    hello.name = "w" + std::to_string(n);
    hello.models = {model()};
    hello.yields = true;
    feed(event::FromWorker{PeerId{100 + n}, false, hello});
    attach_ = Attach{sent<Welcome>().back().worker, 1, 0, std::move(offers)};
    feed(event::FromWorker{PeerId{200 + n}, true, attach_});
    return sent<Attached>().back().kept;
  }

  OfferedShard offer(std::vector<OfferedSample> held) const {
    return {kShard, request_, kEarlierRun, 2, {0, 1, 2, 3}, std::move(held)};
  }

  template <class T>
  std::vector<T> sent() const {
    std::vector<T> found;
    for (const Action& action : actions_) {
      const auto* send = std::get_if<action::Send>(&action);
      if (send == nullptr) continue;
      if (const T* message = std::get_if<T>(&send->message)) found.push_back(*message);
    }
    return found;
  }

  const RequestId request_{9, 9};
  std::vector<Action> actions_;
  Attach attach_;
  TimePoint now_;
  Coordinator core_;
};

TEST_F(Reoffers, WhatIsWaitingIsTheWorkersAgain) {
  const auto kept = attach(1, {offer({{1, 7, false}, {2, 3, false}})});
  ASSERT_EQ(kept.size(), 1u);
  EXPECT_EQ(kept[0].shard, kShard);
  EXPECT_THAT(kept[0].samples, ElementsAre(1, 2));
  EXPECT_THAT(sent<Assign>(), IsEmpty()) << "the other one may be with another worker";
  advance(1s);
  feed(event::FromWorker{PeerId{101}, false, Heartbeat{attach_.worker, 0, 0, 0, {}, {kShard}}});
  advance(1s);
  ASSERT_EQ(sent<Assign>().size(), 1u);
  EXPECT_THAT(sent<Assign>()[0].samples, ElementsAre(3));
  EXPECT_EQ(core_.status(now_).workers[0].assigned, 3);
}

TEST_F(Reoffers, AnAnswerThatWasLostIsGivenAgain) {
  (void)attach(1, {offer({{1, 7, false}})});
  feed(event::FromWorker{PeerId{201}, true, attach_});
  const auto again = sent<Attached>().back().kept;
  ASSERT_EQ(again.size(), 1u);
  EXPECT_THAT(again[0].samples, ElementsAre(1));
}

TEST_F(Reoffers, WhatIsDoneIsDropped) {
  EXPECT_THAT(attach(1, {offer({{0, 10, true}})}), IsEmpty());
}

TEST_F(Reoffers, AnUnknownRequestIsDropped) {
  OfferedShard other = offer({{1, 7, false}});
  other.request = RequestId{1, 1};
  EXPECT_THAT(attach(1, {other}), IsEmpty());
}

TEST_F(Reoffers, AnotherRunningOfTheRequestIsDropped) {
  OfferedShard other = offer({{1, 7, false}});
  other.run = (kEpoch << 32) + 77;  // Of this life, and not the one that there is.
  EXPECT_THAT(attach(1, {other}), IsEmpty());
}

TEST_F(Reoffers, WhatAnotherWorkerRunsIsDropped) {
  ASSERT_EQ(attach(1, {offer({{1, 7, false}, {2, 1, false}})}).size(), 1u);
  OfferedShard other = offer({{1, 9, false}, {3, 5, false}});
  other.shard = ShardId{kShard.value + 1};
  const auto kept = attach(2, {other});
  ASSERT_EQ(kept.size(), 1u);
  EXPECT_THAT(kept[0].samples, ElementsAre(3));
}

TEST_F(Reoffers, AResultThatIsThereEndsTheCopyThatRuns) {
  ASSERT_EQ(attach(1, {offer({{1, 7, false}})}).size(), 1u);
  OfferedShard other = offer({{1, 10, true}});
  other.shard = ShardId{kShard.value + 1};
  const auto kept = attach(2, {other});
  ASSERT_EQ(kept.size(), 1u);
  EXPECT_THAT(kept[0].samples, ElementsAre(1));
  ASSERT_FALSE(sent<Revoke>().empty());
  EXPECT_EQ(sent<Revoke>().back().shard, kShard);
}

TEST_F(Reoffers, NonsenseIsDropped) {
  std::vector<OfferedShard> wrong(5, offer({{1, 7, false}}));
  wrong[0].shard = ShardId{kEpoch << 40};  // Never given.
  wrong[1].samples = {1, 1};
  wrong[2].samples = {1, 4};
  wrong[3].samples = {2};  // Does not have what it says it holds.
  wrong[4].held.clear();
  EXPECT_THAT(attach(1, wrong), IsEmpty());
}

TEST_F(Reoffers, AModelOfOtherFilesIsDropped) {
  (void)attach(1, {});
  (void)attach(2, {});
  Hello hello;
  hello.boot = 1;
  hello.name = "w3";
  hello.models = {model()};
  hello.models[0].identity = "sha256:1";
  feed(event::FromWorker{PeerId{103}, false, hello});
  const WorkerId id = sent<Welcome>().back().worker;
  feed(event::FromWorker{PeerId{203}, true, Attach{id, 1, 0, {offer({{1, 7, false}})}}});
  EXPECT_THAT(sent<Attached>().back().kept, IsEmpty());
}

}  // namespace
}  // namespace pa
