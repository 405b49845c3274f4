#include "coordinator/core/coordinator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shared/wire/codec.h"

namespace pa {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

Request sample_request(std::int64_t samples) {
  Request request;
  request.model = "noop";
  request.samples = samples;
  request.latent_shape = {1, 1, 4};
  request.schedule = ScheduleSpec{};
  return request;
}

/// Feeds a coordinator and remembers what it wants done.
class Harness {
 public:
  explicit Harness(CoordinatorOptions options = {}) : core_(std::move(options)) {}

  void feed(const Event& event) {
    core_.step(event, now, actions);
    core_.check_invariants();
  }
  void advance(Duration by) {
    now += by;
    feed(event::Tick{});
  }

  /// A worker with the no-op model, live at once. Control peer 100 + n, data peer 200 + n.
  /// who: as in event::FromWorker.
  WorkerId join(std::uint64_t n, double weight, std::int64_t credit = 64, std::uint64_t boot = 1,
                const std::string& who = "") {
    Hello hello;
    hello.boot = boot;
    hello.name = "w" + std::to_string(n);
    hello.device = "cpu";
    hello.weight = weight;
    hello.credit_samples = credit;
    ModelInfo model;
    model.name = "noop";
    model.family = "noop";
    model.identity = "sha256:0";
    hello.models = {model};
    feed(event::FromWorker{PeerId{100 + n}, false, hello, who});
    const Welcome* welcome = last<Welcome>();
    if (welcome == nullptr) return WorkerId{0};
    const WorkerId id = welcome->worker;
    feed(event::FromWorker{PeerId{200 + n}, true, Attach{id, boot}, who});
    return id;
  }

  /// A forward request of `samples` rows of 4 floats.
  RequestId submit(std::uint64_t n, std::int64_t samples, double deadline = 0, int priority = 0) {
    Submit submit;
    submit.request = RequestId{0, n};
    submit.body = "body " + std::to_string(n);
    submit.tensors = {{{"x", DType::kF32, {samples, 4}}, {}}};
    Request request;
    request.op = Operation::kForward;
    request.model = "noop";
    request.samples = samples;
    request.deadline_seconds = deadline;
    request.priority = priority;
    feed(event::Submitted{PeerId{n}, submit, request});
    if (last<Refused>() == nullptr) {
      const StreamId input{StreamKind::kRequestInput, submit.request, ShardId{0}};
      feed(StreamArrived{input, static_cast<std::uint64_t>(samples) * 16, true});
    }
    return submit.request;
  }

  /// The last message of this type that was sent, or nullptr.
  template <class T>
  const T* last() const {
    const T* found = nullptr;
    for (const Action& action : actions) {
      const auto* send = std::get_if<action::Send>(&action);
      if (send == nullptr) continue;
      if (const T* message = std::get_if<T>(&send->message)) found = message;
    }
    return found;
  }

  [[nodiscard]] const std::map<WorkerId, Worker>& workers() const { return core_.workers().all(); }

  /// Assigns sent to worker n, oldest first.
  std::vector<Assign> assigns(std::uint64_t n) const {
    std::vector<Assign> found;
    for (const Action& action : actions) {
      const auto* send = std::get_if<action::Send>(&action);
      if (send == nullptr || send->peer != PeerId{200 + n}) continue;
      if (const auto* assign = std::get_if<Assign>(&send->message)) found.push_back(*assign);
    }
    return found;
  }

  /// Worker n delivers the first `count` samples of a shard, bytes and word.
  void deliver(std::uint64_t n, const Assign& assign, std::size_t from, std::size_t count) {
    SamplesDone done;
    done.shard = assign.shard;
    done.stream_upto = (from + count) * 16;
    for (std::size_t i = from; i < from + count; ++i) {
      SampleReport report;
      report.sample = assign.samples[i];
      report.steps = 1;
      done.samples.push_back(report);
    }
    const StreamId stream{StreamKind::kShardResult, assign.request, assign.shard};
    feed(event::FromWorker{PeerId{200 + n}, true, done});
    feed(StreamArrived{stream, done.stream_upto, false});
  }
  void deliver_all(std::uint64_t n, const Assign& assign) {
    deliver(n, assign, 0, assign.samples.size());
  }

  std::vector<Action> actions;
  TimePoint now;

 private:
  Coordinator core_;
};

TEST(Coordinator, SplitsByWeightAndMergesInOrder) {
  Harness h;
  h.join(1, 70);
  h.join(2, 30);
  h.submit(1, 21);
  ASSERT_EQ(h.assigns(1).size(), 1u);
  ASSERT_EQ(h.assigns(2).size(), 1u);
  EXPECT_EQ(h.assigns(1)[0].samples.size(), 15u);
  EXPECT_EQ(h.assigns(2)[0].samples.size(), 6u);
  EXPECT_EQ(h.assigns(2)[0].samples.front(), 15);

  h.deliver_all(2, h.assigns(2)[0]);
  EXPECT_EQ(h.last<Done>(), nullptr);
  h.deliver_all(1, h.assigns(1)[0]);
  ASSERT_NE(h.last<Done>(), nullptr);
  EXPECT_FALSE(h.last<Done>()->failed);
  ASSERT_EQ(h.last<Done>()->samples.size(), 21u);
  EXPECT_EQ(h.last<Done>()->samples[14].worker, "w1");
  EXPECT_EQ(h.last<Done>()->samples[15].worker, "w2");
  EXPECT_EQ(h.last<Done>()->result_bytes, 21u * 16);

  // Merging is placing: every sample's bytes go to the client from, and to, its own place.
  std::vector<bool> placed(21, false);
  for (const Action& action : h.actions) {
    const auto* append = std::get_if<action::Append>(&action);
    if (append == nullptr || append->stream.kind != StreamKind::kRequestResult) continue;
    EXPECT_EQ(append->piece.offset, append->piece.at);
    for (std::uint64_t row = append->piece.at / 16;
         row < (append->piece.at + append->piece.bytes) / 16; ++row) {
      EXPECT_FALSE(placed[row]);
      placed[row] = true;
    }
  }
  EXPECT_THAT(placed, ::testing::Each(true));
}

TEST(Coordinator, ShipsEachWorkerItsRowsOnly) {
  Harness h;
  h.join(1, 1);
  h.join(2, 1);
  h.submit(1, 4);
  std::vector<Piece> pieces;
  for (const Action& action : h.actions) {
    const auto* append = std::get_if<action::Append>(&action);
    if (append != nullptr && append->stream.kind == StreamKind::kShardInput)
      pieces.push_back(append->piece);
  }
  ASSERT_EQ(pieces.size(), 2u);
  EXPECT_EQ(pieces[0].offset, 0u);
  EXPECT_EQ(pieces[0].bytes, 32u);
  EXPECT_EQ(pieces[1].offset, 32u);
  EXPECT_EQ(pieces[1].at, 0u);
  EXPECT_EQ(h.assigns(2)[0].tensors[0].shape, (Shape{2, 4}));
}

TEST(Coordinator, HoldsNoMoreSamplesOnAWorkerThanItsCredit) {
  Harness h;
  h.join(1, 1, /*credit=*/4);
  h.submit(1, 10);
  ASSERT_EQ(h.assigns(1).size(), 1u);
  EXPECT_EQ(h.assigns(1)[0].samples.size(), 4u);
  h.deliver(1, h.assigns(1)[0], 0, 3);
  ASSERT_EQ(h.assigns(1).size(), 2u);
  EXPECT_EQ(h.assigns(1)[1].samples, (std::vector<std::int64_t>{4, 5, 6}));
}

TEST(Coordinator, GivesTheSamplesOfALostWorkerToTheOthersOnce) {
  Harness h;
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

TEST(Coordinator, SuspectsThenLosesASilentWorker) {
  Harness h;
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

TEST(Coordinator, TriesWhetherALateWorkerIsThere) {
  Harness h;
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

TEST(Coordinator, GivesAWorkerOnAnotherBoxMoreTime) {
  Harness h;
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

TEST(Coordinator, WaitsForAWorkerIfAllAreGone) {
  Harness h;
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

TEST(Coordinator, TakesRequestsWhileItsOnlyWorkerIsStartedAgain) {
  Harness h;
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

TEST(Coordinator, FailsASampleThatKeepsGettingLost) {
  CoordinatorOptions options;
  options.max_attempts = 2;
  Harness h(options);
  h.join(1, 1);
  h.submit(1, 1);
  h.feed(event::PeerGone{PeerId{101}});
  h.join(2, 1);
  ASSERT_EQ(h.assigns(2).size(), 1u);
  h.feed(event::PeerGone{PeerId{102}});
  ASSERT_NE(h.last<Done>(), nullptr);
  EXPECT_EQ(h.last<Done>()->error.code, Code::kWorkerLost);
  EXPECT_THAT(h.last<Done>()->error.message, HasSubstr("lost 2 times"));
}

TEST(Coordinator, RefusesWhatItCannotRun) {
  Harness h;
  h.submit(1, 1);
  ASSERT_NE(h.last<Refused>(), nullptr);
  EXPECT_EQ(h.last<Refused>()->error.code, Code::kUnavailable);
  EXPECT_EQ(h.last<Refused>()->error.message, "no worker is live");

  Harness other;
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

TEST(Coordinator, RefusesMoreThanItsMemory) {
  CoordinatorOptions options;
  options.max_total_bytes = 100;
  Harness h(options);
  h.join(1, 1);
  h.submit(1, 3);  // 48 bytes in, 48 out
  EXPECT_EQ(h.last<Refused>(), nullptr);
  h.submit(2, 1);
  ASSERT_NE(h.last<Refused>(), nullptr);
  EXPECT_EQ(h.last<Refused>()->error.code, Code::kOverloaded);
  EXPECT_GT(h.last<Refused>()->retry_after_seconds, 0);
}

TEST(Coordinator, CancelRevokesAndAnswers) {
  Harness h;
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

TEST(Coordinator, EndsARequestAtItsDeadline) {
  Harness h;
  h.join(1, 1);
  h.submit(1, 3, /*deadline=*/0.5);
  h.advance(400ms);
  EXPECT_EQ(h.last<Done>(), nullptr);
  h.advance(100ms);
  ASSERT_NE(h.last<Done>(), nullptr);
  EXPECT_EQ(h.last<Done>()->error.code, Code::kDeadline);
}

TEST(Coordinator, SharesTheClusterBetweenClientsByTheirWeights) {
  CoordinatorOptions options;
  options.client_weights = {{"alice", 3}};
  Harness h(options);
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

TEST(Coordinator, ServesHigherPriorityFirst) {
  Harness h;
  h.join(1, 1, /*credit=*/1);
  h.submit(1, 1);
  const RequestId low = h.submit(2, 1);
  const RequestId high = h.submit(3, 1, 0, /*priority=*/5);
  h.deliver_all(1, h.assigns(1)[0]);
  h.deliver_all(1, h.assigns(1)[1]);
  EXPECT_EQ(h.assigns(1)[1].request, high);
  EXPECT_EQ(h.assigns(1)[2].request, low);
}

TEST(Coordinator, TakesARepeatedSubmitForTheSameRequest) {
  Harness h;
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

TEST(Coordinator, AReconnectedClientContinuesItsResult) {
  Harness h;
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

TEST(Coordinator, KeepsTwoLiveWorkersOfOneNameApart) {
  Harness h;
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

TEST(Coordinator, LosesAShardThatItsWorkerDoesNotHold) {
  Harness h;
  h.join(1, 1);
  h.submit(1, 2);
  h.advance(1s);
  h.feed(event::FromWorker{PeerId{101}, false, Heartbeat{WorkerId{1}, 0, 0, 0, {}, {}}});
  EXPECT_EQ(h.assigns(1).size(), 1u) << "the Assign may be on its way";
  h.advance(1s);
  h.feed(event::FromWorker{PeerId{101}, false, Heartbeat{WorkerId{1}, 1, 0, 0, {}, {}}});
  EXPECT_EQ(h.assigns(1).size(), 2u);
}

TEST(Coordinator, AnswersStrangersWithRehello) {
  Harness h;
  h.feed(event::FromWorker{PeerId{9}, false, Heartbeat{}});
  EXPECT_NE(h.last<Rehello>(), nullptr);
}

TEST(Coordinator, MovesWaitingSamplesWhenWeightsChange) {
  Harness h;
  h.join(1, 1, /*credit=*/1);
  h.join(2, 1, /*credit=*/1);
  h.submit(1, 10);
  h.feed(event::WeightsChanged{{{"w2", 0}}});
  h.deliver_all(2, h.assigns(2)[0]);
  EXPECT_EQ(h.assigns(2).size(), 1u) << "weight 0 gets nothing more";
  for (std::size_t i = 0; i < 9; ++i) h.deliver_all(1, h.assigns(1)[i]);
  ASSERT_NE(h.last<Done>(), nullptr);
}

/// From w1, of a shard of its: samples that failed.
SamplesDone failed(ShardId shard, const std::vector<std::int64_t>& samples, const Error& error) {
  SamplesDone done;
  done.shard = shard;
  for (const std::int64_t sample : samples) {
    SampleReport& report = done.samples.emplace_back();
    report.sample = sample;
    report.failed = true;
    report.error = error;
  }
  return done;
}

TEST(Coordinator, ASampleThatFailsDoesNotTakeTheOthersAlong) {
  Harness h;
  h.join(1, 1);
  h.submit(1, 3);
  const Assign assign = h.assigns(1)[0];
  h.feed(
      event::FromWorker{PeerId{201}, true, failed(assign.shard, {1}, internal("NaN at step 3"))});
  EXPECT_EQ(h.last<Done>(), nullptr) << "the others run on";
  Assign others = assign;
  others.samples = {0, 2};
  h.deliver_all(1, others);
  ASSERT_NE(h.last<Done>(), nullptr);
  EXPECT_FALSE(h.last<Done>()->failed);
  EXPECT_FALSE(h.last<Done>()->samples[0].failed);
  EXPECT_TRUE(h.last<Done>()->samples[1].failed);
  EXPECT_EQ(h.last<Done>()->samples[1].error.message, "NaN at step 3");
}

TEST(Coordinator, ARequestWhoseSamplesAllFailFailsWithTheFirstOnesReason) {
  Harness h;
  h.join(1, 1);
  h.submit(1, 3);
  h.feed(event::FromWorker{PeerId{201}, true,
                           failed(h.assigns(1)[0].shard, {0, 1, 2}, internal("NaN at step 3"))});
  ASSERT_NE(h.last<Done>(), nullptr);
  EXPECT_TRUE(h.last<Done>()->failed);
  EXPECT_THAT(h.last<Done>()->error.message, HasSubstr("sample 0 on w1: NaN at step 3"));
}

TEST(Coordinator, ARequestThatAWorkerCannotRunFailsAtOnce) {
  Harness h;
  h.join(1, 1);
  h.submit(1, 3);
  h.feed(event::FromWorker{PeerId{201}, true,
                           failed(h.assigns(1)[0].shard, {1}, invalid("no such label"))});
  ASSERT_NE(h.last<Done>(), nullptr);
  EXPECT_TRUE(h.last<Done>()->failed);
  EXPECT_THAT(h.last<Done>()->error.message, HasSubstr("sample 1 on w1: no such label"));
}

TEST(Coordinator, PassesPreviewsOfOpenSamplesOn) {
  Harness h;
  h.join(1, 1);
  h.join(2, 1);
  const RequestId request = h.submit(1, 2);
  SamplePreview preview;
  preview.shard = h.assigns(1)[0].shard;
  preview.sample = h.assigns(1)[0].samples[0];
  preview.step = 4;
  preview.width = 2;
  preview.height = 1;
  preview.rgb = {1, 2, 3, 4, 5, 6};
  h.feed(event::FromWorker{PeerId{202}, true, preview});  // Not its shard.
  EXPECT_EQ(h.last<SamplePreview>(), nullptr);
  SamplePreview wrong = preview;
  wrong.width = 3;
  h.feed(event::FromWorker{PeerId{201}, true, wrong});
  EXPECT_EQ(h.last<SamplePreview>(), nullptr);
  h.feed(event::FromWorker{PeerId{201}, true, preview});
  ASSERT_NE(h.last<SamplePreview>(), nullptr);
  EXPECT_EQ(h.last<SamplePreview>()->request, request);
  EXPECT_EQ(h.last<SamplePreview>()->rgb, preview.rgb);
}

TEST(Coordinator, ForgetsTheOldestResultsOfVanishedClientsBeyondItsLimit) {
  CoordinatorOptions options;
  options.retention_bytes = 40;
  Harness h(options);
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

TEST(Coordinator, TheReportOfTheLargestRequestFitsAMessage) {
  Harness h;
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

TEST(Coordinator, WhoseFileOfALoraDiffersGetsNoneOfItsRequests) {
  Harness h;
  for (std::uint64_t n = 1; n <= 3; ++n) {
    Hello hello;
    hello.boot = n;
    hello.name = "w" + std::to_string(n);
    ModelInfo model;
    model.name = "noop";
    model.family = "noop";
    model.identity = "sha256:0";
    model.loras = {{"style", n == 2 ? "sha256:2" : "sha256:1"}};
    hello.models = {model};
    h.feed(event::FromWorker{PeerId{100 + n}, false, hello, ""});
    h.feed(event::FromWorker{PeerId{200 + n}, true, Attach{h.last<Welcome>()->worker, n}, ""});
  }
  Submit submit;
  submit.request = RequestId{0, 1};
  Request request = sample_request(64);
  request.loras = {{"style", 1.0}};
  h.feed(event::Submitted{PeerId{1}, submit, request});
  h.feed(event::Journaled{submit.request, {}, {}});
  for (int i = 0; i < 100; ++i) h.advance(1ms);
  EXPECT_FALSE(h.assigns(1).empty());
  EXPECT_TRUE(h.assigns(2).empty());
  EXPECT_FALSE(h.assigns(3).empty());
}

TEST(Coordinator, ShutdownFinishesWhatRunsAndThenExits) {
  Harness h;
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

TEST(Coordinator, TheStatusOfAThousandWorkersComesInPartsThatFitMessages) {
  Harness harness;
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

TEST(Coordinator, AHelloWithHundredsOfModelsFitsControl) {
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
