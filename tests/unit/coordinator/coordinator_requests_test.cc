// Requests from their admission to their end, and their clients.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shared/wire/codec.h"
#include "tests/unit/coordinator/coordinator_harness.h"

namespace pa {
namespace {

using namespace std::chrono_literals;
using test::CoordinatorHarness;
using test::sample_request;
using ::testing::HasSubstr;

TEST(CoordinatorRequests, RefusesWhatItCannotRun) {
  CoordinatorHarness h;
  h.submit(1, 1);
  ASSERT_NE(h.last<Refused>(), nullptr);
  EXPECT_EQ(h.last<Refused>()->error.code, Code::kUnavailable);
  EXPECT_EQ(h.last<Refused>()->error.message, "no worker is live");

  CoordinatorHarness other;
  other.join(1, 1);
  Submit submit;
  submit.request = RequestId{0, 5};
  Request request;
  request.model = "noob";
  other.feed(event::Submitted{PeerId{5}, submit, request});
  EXPECT_THAT(other.last<Refused>()->error.message, HasSubstr("did you mean 'noop'"));
  other.feed(
      event::Submitted{PeerId{5}, submit, invalid("samples: expected a number", "/samples")});
  EXPECT_EQ(other.last<Refused>()->error.field, "/samples");
}

TEST(CoordinatorRequests, RefusesMoreThanItsMemory) {
  CoordinatorOptions options;
  options.max_total_bytes = 100;
  CoordinatorHarness h(options);
  h.join(1, 1);
  h.submit(1, 3);  // 48 bytes in, 48 out
  EXPECT_EQ(h.last<Refused>(), nullptr);
  h.submit(2, 1);
  ASSERT_NE(h.last<Refused>(), nullptr);
  EXPECT_EQ(h.last<Refused>()->error.code, Code::kOverloaded);
  EXPECT_GT(h.last<Refused>()->retry_after_seconds, 0);
}

TEST(CoordinatorRequests, CancelRevokesAndAnswers) {
  CoordinatorHarness h;
  h.join(1, 1);
  const RequestId request = h.submit(1, 3);
  const ShardId shard = h.assigns(1)[0].shard;
  h.feed(event::FromClient{PeerId{1}, Cancel{request}});
  ASSERT_NE(h.last<Revoke>(), nullptr);
  EXPECT_EQ(h.last<Revoke>()->shard, shard);
  ASSERT_NE(h.last<Done>(), nullptr);
  EXPECT_EQ(h.last<Done>()->error.code, Code::kCancelled);
  h.feed(event::FromClient{PeerId{1}, DoneAck{request}});
  h.feed(event::FromClient{PeerId{1}, Cancel{request}});
  ASSERT_NE(h.last<Refused>(), nullptr);
}

TEST(CoordinatorRequests, EndsARequestAtItsDeadline) {
  CoordinatorHarness h;
  h.join(1, 1);
  h.submit(1, 3, /*deadline=*/0.5);
  h.advance(400ms);
  EXPECT_EQ(h.last<Done>(), nullptr);
  h.advance(100ms);
  ASSERT_NE(h.last<Done>(), nullptr);
  EXPECT_EQ(h.last<Done>()->error.code, Code::kDeadline);
}

TEST(CoordinatorRequests, SharesTheClusterBetweenClientsByTheirWeights) {
  CoordinatorOptions options;
  options.client_weights = {{"alice", 3}};
  CoordinatorHarness h(options);
  h.join(1, 1, /*credit=*/1);
  std::map<RequestId, std::string> whose;
  for (std::uint64_t n : {1, 2}) {
    Submit submit;
    submit.request = RequestId{0, n};
    Request request;
    request.model = "noop";
    request.samples = 60;
    request.latent_shape = {1, 1, 4};
    request.schedule = ScheduleSpec{"simple", 10, 1.0};
    whose[submit.request] = n == 1 ? "alice" : "bob";
    h.feed(event::Submitted{PeerId{n}, submit, request, whose[submit.request]});
    h.feed(event::Journaled{submit.request, event::Journaled::What::kRequest, {}});
  }
  ASSERT_EQ(h.last<Refused>(), nullptr);
  for (int i = 0; i < 50; ++i) h.advance(1ms);  // It looks at what it might do before it begins.
  std::map<std::string, std::size_t> served;
  for (std::size_t i = 0; i < h.assigns(1).size() && served["alice"] + served["bob"] < 40; ++i) {
    const Assign assign = h.assigns(1)[i];
    served[whose[assign.request]] += assign.samples.size();
    h.deliver_all(1, assign);
    h.advance(1ms);
  }
  EXPECT_NEAR(static_cast<double>(served["alice"]) / static_cast<double>(served["bob"]), 3, 1.2);
}

TEST(CoordinatorRequests, ServesHigherPriorityFirst) {
  CoordinatorHarness h;
  h.join(1, 1, /*credit=*/1);
  h.submit(1, 1);
  const RequestId low = h.submit(2, 1);
  const RequestId high = h.submit(3, 1, 0, /*priority=*/5);
  h.deliver_all(1, h.assigns(1)[0]);
  h.deliver_all(1, h.assigns(1)[1]);
  EXPECT_EQ(h.assigns(1)[1].request, high);
  EXPECT_EQ(h.assigns(1)[2].request, low);
}

TEST(CoordinatorRequests, TakesARepeatedSubmitForTheSameRequest) {
  CoordinatorHarness h;
  h.join(1, 1);
  const RequestId request = h.submit(1, 2);
  h.deliver_all(1, h.assigns(1)[0]);
  h.actions.clear();
  h.submit(1, 2);
  EXPECT_EQ(h.assigns(1).size(), 0u) << "it is not run twice";
  EXPECT_NE(h.last<Accepted>(), nullptr);
  EXPECT_NE(h.last<Done>(), nullptr);
  h.actions.clear();
  Submit other;
  other.request = request;
  other.body = "something else";
  h.feed(event::Submitted{PeerId{9}, other, Request{}});
  ASSERT_NE(h.last<Refused>(), nullptr);
  EXPECT_THAT(h.last<Refused>()->error.message, HasSubstr("in use for another request"));
}

TEST(CoordinatorRequests, AReconnectedClientContinuesItsResult) {
  CoordinatorHarness h;
  h.join(1, 1);
  const RequestId request = h.submit(1, 2);
  h.feed(event::Journaled{request, {}, {}});
  h.deliver(1, h.assigns(1)[0], 0, 1);
  Submit again;
  again.request = request;
  again.body = "body 1";
  again.tensors = {{{"x", DType::kF32, {2, 4}}, {}}};
  again.result_from = 8;
  again.result_run = h.last<Accepted>()->run;
  h.actions.clear();
  h.feed(event::Submitted{PeerId{77}, again, Request{}});
  bool restarted = false;
  for (const Action& action : h.actions) {
    const auto* start = std::get_if<action::StartSending>(&action);
    if (start == nullptr) continue;
    restarted = true;
    EXPECT_EQ(start->peer, PeerId{77});
    EXPECT_EQ(start->from, 8u);
  }
  EXPECT_TRUE(restarted);
}

TEST(CoordinatorRequests, ForgetsTheOldestResultsOfVanishedClientsBeyondItsLimit) {
  CoordinatorOptions options;
  options.retention_bytes = 40;
  CoordinatorHarness h(options);
  h.join(1, 1);
  std::vector<RequestId> requests;
  for (std::uint64_t n = 1; n <= 3; ++n) {
    Submit submit;
    submit.request = RequestId{0, n};
    Request request;
    request.model = "noop";
    request.latent_shape = {1, 1, 4};
    request.schedule = ScheduleSpec{};
    h.feed(event::Submitted{PeerId{n}, submit, request});
    h.feed(event::Journaled{submit.request, {}, {}});
    h.deliver_all(1, h.assigns(1).back());
    h.advance(1s);
    h.feed(event::FromWorker{PeerId{101}, false, Heartbeat{}});
    h.feed(event::PeerGone{PeerId{n}});
    requests.push_back(submit.request);
  }
  h.feed(event::FromClient{PeerId{9}, StatusQuery{}});
  const ClusterStatus* status = h.last<ClusterStatus>();
  ASSERT_EQ(status->requests.size(), 2u) << "of 3 results of 16 bytes, 40 bytes hold 2";
  EXPECT_EQ(status->requests[0].request, requests[1]);
}

TEST(CoordinatorRequests, TheReportOfTheLargestRequestFitsAMessage) {
  CoordinatorHarness h;
  h.join(1, 1, /*credit=*/4096);
  Submit submit;
  submit.request = RequestId{0, 1};
  Request request = sample_request(4096);
  request.scheduling = Scheduling::kStatic;
  request.partial = true;
  h.feed(event::Submitted{PeerId{1}, submit, request});
  h.feed(event::Journaled{submit.request, {}, {}});
  SamplesDone done;
  done.shard = h.assigns(1)[0].shard;
  for (std::int64_t i = 0; i < 4096; ++i) {
    SampleReport report;
    report.sample = i;
    report.failed = true;
    report.seconds = 0.1;
    report.error = internal(std::string(1000, 'x'));
    done.samples.push_back(report);
  }
  h.feed(event::FromWorker{PeerId{201}, true, done});
  EXPECT_EQ(h.last<Done>(), nullptr) << "it is told before it is safe";
  h.feed(event::Journaled{submit.request, event::Journaled::What::kOutcome, {}});
  ASSERT_NE(h.last<Done>(), nullptr);
  EXPECT_EQ(h.last<Done>()->samples.size(), 4096u);
  EXPECT_LT(encode(*h.last<Done>()).size(), std::size_t{900} << 10);
}

TEST(CoordinatorRequests, ShutdownFinishesWhatRunsAndThenExits) {
  CoordinatorHarness h;
  h.join(1, 1);
  const RequestId request = h.submit(1, 1);
  h.feed(event::Shutdown{10s});
  h.submit(2, 1);
  ASSERT_NE(h.last<Refused>(), nullptr);
  const auto exits = [&] {
    return std::any_of(h.actions.begin(), h.actions.end(), [](const Action& action) {
      return std::holds_alternative<action::Exit>(action);
    });
  };
  EXPECT_FALSE(exits());
  h.deliver_all(1, h.assigns(1)[0]);
  EXPECT_FALSE(exits()) << "the client has not acknowledged yet";
  h.feed(event::FromClient{PeerId{1}, DoneAck{request}});
  EXPECT_TRUE(exits());
}

TEST(CoordinatorRequests, WhatIsALoneSamplesOwnIsNotKeptForOthers) {
  CoordinatorHarness h;
  h.join(1, 1);
  Submit submit;
  submit.request = RequestId{0, 1};
  submit.body = "body";
  const std::int64_t floats = static_cast<std::int64_t>(kBlobFromBytes) / 4;
  submit.tensors = {{{"x", DType::kF32, {1, floats}}, {1, 1}}};
  Request request;
  request.op = Operation::kForward;
  request.model = "noop";
  h.feed(event::Submitted{PeerId{5}, submit, request});
  ASSERT_EQ(h.last<Refused>(), nullptr) << h.last<Refused>()->error.message;
  const StreamId input{StreamKind::kRequestInput, submit.request, ShardId{0}};
  h.feed(StreamArrived{input, kBlobFromBytes, true});
  for (const Action& action : h.actions)
    EXPECT_FALSE(std::holds_alternative<action::KeepBlobs>(action));
  EXPECT_THAT(h.assigns(1).at(0).digests, ::testing::IsEmpty()) << "the worker need not ask";
}

/// A forward request of 8 rows of 16 KiB from a client that shares memory, and made some for the result.
class InClientMemory : public ::testing::Test {
 protected:
  static constexpr std::uint64_t kResultBytes = 8UL * 16384;

  InClientMemory() { h_.join(1, 1); }

  void submit(PeerId peer, std::uint64_t segment_bytes) {
    Submit submit;
    submit.request = RequestId{0, 1};
    submit.body = "body";
    submit.tensors = {{{"x", DType::kF32, {8, 4096}}, {}}};
    Request request;
    request.op = Operation::kForward;
    request.model = "noop";
    request.samples = 8;
    event::Submitted event{peer, submit, request, "", true};
    event.result_segment_bytes = segment_bytes;
    h_.feed(event);
    const StreamId input{StreamKind::kRequestInput, submit.request, ShardId{0}};
    h_.feed(StreamArrived{input, kResultBytes, true});
  }

  [[nodiscard]] std::int64_t adopted() const {
    return std::count_if(h_.actions.begin(), h_.actions.end(), [](const Action& action) {
      const auto* adopt = std::get_if<action::AdoptSegment>(&action);
      return adopt != nullptr && adopt->result && adopt->bytes == kResultBytes;
    });
  }

  CoordinatorHarness h_;
};

TEST_F(InClientMemory, TheResultGoesWhereTheClientWantsIt) {
  submit(PeerId{5}, kResultBytes);
  EXPECT_EQ(adopted(), 1);
  ASSERT_NE(h_.last<Accepted>(), nullptr);
  EXPECT_TRUE(h_.last<Accepted>()->in_your_memory);
  EXPECT_EQ(h_.last<Accepted>()->segment, 0U);
}

TEST_F(InClientMemory, UnlessItDoesNotFit) {
  submit(PeerId{5}, kResultBytes - 1);
  EXPECT_EQ(adopted(), 0);
  EXPECT_FALSE(h_.last<Accepted>()->in_your_memory);
  EXPECT_NE(h_.last<Accepted>()->segment, 0U);
}

TEST_F(InClientMemory, WhoeverAsksNextIsGivenTheMemory) {
  submit(PeerId{5}, kResultBytes);
  submit(PeerId{6}, 0);
  EXPECT_FALSE(h_.last<Accepted>()->in_your_memory);
  EXPECT_NE(h_.last<Accepted>()->segment, 0U);
}

TEST_F(InClientMemory, ThatCannotBeWrittenToEndsTheRequest) {
  submit(PeerId{5}, kResultBytes);
  const Assign assign = h_.assigns(1).at(0);
  h_.feed(StreamUnwritable{{StreamKind::kShardResult, assign.request, assign.shard}});
  ASSERT_NE(h_.last<Refused>(), nullptr);
  EXPECT_EQ(h_.last<Refused>()->error.code, Code::kOverloaded);
  EXPECT_EQ(h_.last<Revoke>()->shard, assign.shard);
}

}  // namespace
}  // namespace pa
