#include "worker/core/worker_core.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pa {
namespace {

using namespace std::chrono_literals;

/// Feeds a worker and remembers what it wants done.
class Harness {
 public:
  explicit Harness(WorkerOptions options = named()) : core_(std::move(options)) {}

  static WorkerOptions named() {
    WorkerOptions options;
    options.hello.name = "w";
    options.hello.boot = 7;
    return options;
  }

  void feed(const WorkerEvent& event) {
    core_.step(event, now_, actions);
    core_.check_invariants();
  }
  void hear(Message message) { feed(worker_event::FromCoordinator{std::move(message)}); }
  void advance(Duration by) {
    now_ += by;
    feed(worker_event::Tick{});
  }
  void go_live(std::uint64_t id = 1, std::uint64_t epoch = 1) {
    hear(Welcome{epoch, WorkerId{id}, 500ms, 1 << 20});
    hear(Attached{WorkerId{id}});
  }

  /// An Assign of three samples with one input tensor; the result rows are 16 bytes.
  Assign assign(std::uint64_t shard, const std::vector<std::int64_t>& samples = {4, 5, 9}) {
    Assign message;
    message.shard = ShardId{shard};
    message.request = RequestId{1, 1};
    message.samples = samples;
    message.tensors = {{"x", DType::kF32, {std::ssize(samples), 4}}};
    message.result = {"output", DType::kF32, {std::ssize(samples), 4}};
    feed(worker_event::Assigned{message, Request{}});
    return message;
  }
  void inputs_arrive(const Assign& assign) {
    feed(StreamArrived{
        {StreamKind::kShardInput, assign.request, assign.shard}, assign.samples.size() * 16, true});
  }
  void finish(const Assign& assign, std::int64_t first, std::int64_t count) {
    RowsFinished rows;
    rows.shard = assign.shard;
    rows.first_row = first;
    rows.bytes = Buffer(std::make_shared<std::byte>(), static_cast<std::uint64_t>(count) * 16);
    for (std::int64_t i = 0; i < count; ++i) {
      SampleReport report;
      report.sample = assign.samples[static_cast<std::size_t>(first + i)];
      rows.samples.push_back(report);
    }
    feed(worker_event::Reported{rows});
  }

  template <class T>
  std::vector<T> sent() const {
    std::vector<T> found;
    for (const WorkerAction& action : actions) {
      const Message* message = nullptr;
      if (const auto* control = std::get_if<worker_action::SendControl>(&action))
        message = &control->message;
      if (const auto* data = std::get_if<worker_action::SendData>(&action))
        message = &data->message;
      if (message == nullptr) continue;
      if (const T* typed = std::get_if<T>(message)) found.push_back(*typed);
    }
    return found;
  }
  template <class T>
  std::vector<T> did() const {
    std::vector<T> found;
    for (const WorkerAction& action : actions) {
      if (const T* typed = std::get_if<T>(&action)) found.push_back(*typed);
    }
    return found;
  }

  std::vector<WorkerAction> actions;

 private:
  WorkerCore core_;
  TimePoint now_;
};

TEST(WorkerCore, SaysNothingBeforeItIsReady) {
  Harness h;
  h.advance(10s);
  EXPECT_TRUE(h.actions.empty());
  h.feed(worker_event::Ready{});
  EXPECT_EQ(h.sent<Hello>().size(), 1u);
}

TEST(WorkerCore, RepeatsHelloAndAttachUntilAnswered) {
  Harness h;
  h.feed(worker_event::Ready{});
  h.advance(500ms);
  h.advance(500ms);
  EXPECT_EQ(h.sent<Hello>().size(), 3u);
  h.hear(Welcome{1, WorkerId{1}, 500ms, 1});
  h.advance(500ms);
  EXPECT_EQ(h.sent<Attach>().size(), 2u);
  h.hear(Attached{WorkerId{1}});
  EXPECT_EQ(h.sent<Heartbeat>().size(), 1u);
  h.advance(500ms);
  EXPECT_EQ(h.sent<Heartbeat>().size(), 2u);
}

TEST(WorkerCore, BeatsTellWhatIsInMemory) {
  Harness h;
  h.feed(worker_event::Ready{});
  h.go_live();
  h.feed(worker_event::Measured{5, false, {{"flux", "x", 8, 2}}});
  h.advance(500ms);
  const Heartbeat beat = h.sent<Heartbeat>().back();
  EXPECT_EQ(beat.free_memory_bytes, 5);
  ASSERT_EQ(beat.loaded.size(), 1U);
  EXPECT_EQ(beat.loaded[0].model, "flux");
  EXPECT_EQ(beat.loaded[0].loras, "x");
  EXPECT_EQ(beat.loaded[0].load_seconds, 8);
}

TEST(WorkerCore, APassRunsOnWhenNobodyWantsItAnyMore) {
  Harness h;
  h.feed(worker_event::Ready{});
  h.go_live();
  const Assign assign = h.assign(3);
  h.inputs_arrive(assign);
  const auto busy_for = [&](bool computing) {
    h.feed(worker_event::Measured{5, false, {}, computing});
    h.advance(500ms);
    return h.sent<Heartbeat>().back().busy_for;
  };
  EXPECT_EQ(busy_for(true), 500ms);
  h.hear(Revoke{assign.shard});
  EXPECT_EQ(busy_for(true), 1s);
  EXPECT_EQ(busy_for(false), 0ms);
}

TEST(WorkerCore, TheTimeOfAStopCountsForNoPass) {
  Harness h;
  h.feed(worker_event::Ready{});
  h.go_live();
  h.inputs_arrive(h.assign(3));
  h.advance(500ms);
  EXPECT_EQ(h.sent<Heartbeat>().back().busy_for, 500ms);
  h.advance(2500ms);  // In one go: its beats were due meanwhile.
  EXPECT_EQ(h.sent<Heartbeat>().back().busy_for, 500ms);
}

TEST(WorkerCore, APassThatWasHeldUpIsReportedByItself) {
  Harness h;
  h.feed(worker_event::Ready{});
  h.go_live();
  const Assign assign = h.assign(3);
  h.inputs_arrive(assign);
  for (const double seconds : {0.1, 0.11, 3.0, 0.09}) {
    PassDone pass;
    pass.model = "sim";
    pass.rows = 2;
    pass.seconds = seconds;
    h.feed(worker_event::Reported{pass});
  }
  h.advance(100ms);
  const auto passes = h.sent<WorkerProgress>().back().passes;
  ASSERT_EQ(passes.size(), 2U);
  EXPECT_EQ(passes[0].passes, 3);
  EXPECT_NEAR(passes[0].seconds, 0.3, 1e-9);
  EXPECT_EQ(passes[1].passes, 1);
  EXPECT_EQ(passes[1].seconds, 3.0);
}

TEST(WorkerCore, TellsHowLongTheAnswerToItsLastBeatTook) {
  Harness h;
  h.feed(worker_event::Ready{});
  h.go_live();
  const auto round_trips = [&] {
    std::vector<Duration> all;
    for (const WorkerNote& note : h.did<WorkerNote>()) {
      if (const auto* answered = std::get_if<worker_note::BeatAnswered>(&note)) {
        all.push_back(answered->round_trip);
      }
    }
    return all;
  };
  h.advance(500ms);
  const std::uint64_t last = h.sent<Heartbeat>().back().sequence;
  h.advance(3ms);
  h.hear(HeartbeatAck{last});
  EXPECT_EQ(round_trips(), std::vector<Duration>{3ms});
  h.advance(500ms);
  h.hear(HeartbeatAck{last});
  EXPECT_EQ(round_trips().size(), 1U) << "of an earlier beat";
}

TEST(WorkerCore, RunsAShardOnceItsInputsAreThereAndPlacesItsRows) {
  Harness h;
  h.feed(worker_event::Ready{});
  h.go_live();
  const Assign assign = h.assign(1);
  EXPECT_TRUE(h.did<worker_action::Run>().empty());
  h.inputs_arrive(assign);
  ASSERT_EQ(h.did<worker_action::Run>().size(), 1u);
  h.assign(1);  // sent twice
  EXPECT_EQ(h.did<worker_action::Run>().size(), 1u);

  h.finish(assign, 0, 3);
  const auto appended = h.did<worker_action::Append>();
  ASSERT_EQ(appended.size(), 2u) << "samples 4 and 5 lie together, 9 does not";
  EXPECT_EQ(appended[0].piece.at, 4u * 16);
  EXPECT_EQ(appended[0].piece.bytes, 32u);
  EXPECT_EQ(appended[1].piece.at, 9u * 16);
  EXPECT_EQ(appended[1].piece.offset, 32u);
  EXPECT_TRUE(appended[1].last);
  ASSERT_EQ(h.sent<SamplesDone>().size(), 1u);
  EXPECT_EQ(h.sent<SamplesDone>()[0].stream_upto, 48u);
}

TEST(WorkerCore, RepeatsResultsUntilTheShardIsRevoked) {
  Harness h;
  h.feed(worker_event::Ready{});
  h.go_live();
  const Assign assign = h.assign(1);
  h.inputs_arrive(assign);
  h.finish(assign, 0, 3);
  h.hear(HeartbeatAck{});
  h.advance(2s);
  EXPECT_EQ(h.sent<SamplesDone>().size(), 2u);
  h.hear(Revoke{ShardId{1}});
  EXPECT_TRUE(h.did<worker_action::Cancel>().empty()) << "it had finished";
  h.advance(2s);
  EXPECT_EQ(h.sent<SamplesDone>().size(), 2u);
}

TEST(WorkerCore, RevokeCancelsAndALateAssignDoesNotRevive) {
  Harness h;
  h.feed(worker_event::Ready{});
  h.go_live();
  const Assign assign = h.assign(1);
  h.inputs_arrive(assign);
  h.hear(Revoke{ShardId{1}});
  EXPECT_EQ(h.did<worker_action::Cancel>().size(), 1u);
  h.assign(1);
  h.inputs_arrive(assign);
  EXPECT_EQ(h.did<worker_action::Run>().size(), 1u);
  h.hear(Revoke{ShardId{2}});  // arrives before its Assign: they use different connections
  h.assign(2);
  EXPECT_EQ(h.did<worker_action::Receive>().size(), 1u);
}

TEST(WorkerCore, MakesFreshConnectionsWhenTheCoordinatorIsSilent) {
  Harness h;
  h.feed(worker_event::Ready{});
  h.go_live();
  const Assign assign = h.assign(1);
  h.inputs_arrive(assign);
  h.advance(3s);
  EXPECT_EQ(h.did<worker_action::Reconnect>().size(), 1u);
  EXPECT_TRUE(h.did<worker_action::Cancel>().empty())
      << "the work goes on until another session begins";
  h.go_live(/*id=*/2);
  EXPECT_EQ(h.did<worker_action::Cancel>().size(), 1u)
      << "the coordinator gave the samples to others";
}

TEST(WorkerCore, DrainFinishesWhatItHoldsThenLeaves) {
  Harness h;
  h.feed(worker_event::Ready{});
  h.go_live();
  const Assign assign = h.assign(1);
  h.inputs_arrive(assign);
  h.feed(worker_event::Drain{});
  EXPECT_EQ(h.sent<Draining>().size(), 1u);
  EXPECT_TRUE(h.did<worker_action::Exit>().empty());
  h.finish(assign, 0, 3);
  h.hear(Revoke{ShardId{1}});
  EXPECT_EQ(h.sent<Bye>().size(), 1u);
  ASSERT_EQ(h.did<worker_action::Exit>().size(), 1u);
  EXPECT_EQ(h.did<worker_action::Exit>()[0].status, 0);
}

TEST(WorkerCore, ExitsIfRefusedButWaitsForItsName) {
  Harness h;
  h.feed(worker_event::Ready{});
  h.hear(Rejected{overloaded("a live worker is named w already")});
  EXPECT_TRUE(h.did<worker_action::Exit>().empty());
  h.hear(Rejected{invalid("protocol 9")});
  ASSERT_EQ(h.did<worker_action::Exit>().size(), 1u);
  EXPECT_EQ(h.did<worker_action::Exit>()[0].status, 1);
}

TEST(WorkerCore, ReportsAShardItCannotRun) {
  Harness h;
  h.feed(worker_event::Ready{});
  h.go_live();
  Assign message;
  message.shard = ShardId{1};
  message.samples = {0, 1};
  message.result = {"output", DType::kF32, {2, 4}};
  h.feed(worker_event::Assigned{message, invalid("bad body")});
  ASSERT_EQ(h.sent<SamplesDone>().size(), 1u);
  EXPECT_EQ(h.sent<SamplesDone>()[0].samples.size(), 2u);
  EXPECT_TRUE(h.sent<SamplesDone>()[0].samples[1].failed);
}

TEST(WorkerCore, ShortensErrorsSoThatAReportFitsAMessage) {
  Harness h;
  h.feed(worker_event::Ready{});
  h.go_live();
  Assign message;
  message.shard = ShardId{1};
  message.samples.resize(4096);
  message.result = {"output", DType::kF32, {4096, 4}};
  h.feed(worker_event::Assigned{message, invalid(std::string(1000, 'x'))});
  ASSERT_EQ(h.sent<SamplesDone>().size(), 1u);
  EXPECT_LE(h.sent<SamplesDone>()[0].samples[7].error.message.size(), 70u);
}

TEST(WorkerCore, SendsProgressOnceAnInterval) {
  Harness h;
  h.feed(worker_event::Ready{});
  h.go_live();
  const Assign assign = h.assign(1);
  h.inputs_arrive(assign);
  for (int step = 1; step <= 5; ++step)
    h.feed(worker_event::Reported{ShardMoved{ShardId{1}, step, 1, 0.1 * step}});
  EXPECT_TRUE(h.sent<WorkerProgress>().empty());
  h.advance(100ms);
  ASSERT_EQ(h.sent<WorkerProgress>().size(), 1u);
  EXPECT_EQ(h.sent<WorkerProgress>()[0].shards[0].steps, 5);
}

TEST(WorkerCore, SendsTheNewestPreviewOfEachSampleOnceAnInterval) {
  Harness h;
  h.feed(worker_event::Ready{});
  h.go_live();
  const Assign assign = h.assign(1);
  h.inputs_arrive(assign);
  for (int step = 1; step <= 3; ++step) {
    for (const std::int64_t sample : {0, 1}) {
      h.feed(worker_event::Reported{PreviewMade{ShardId{1}, sample, step, 1, 1, {1, 2, 3}}});
    }
  }
  h.feed(worker_event::Reported{PreviewMade{ShardId{9}, 0, 1, 1, 1, {1, 2, 3}}});  // Revoked.
  EXPECT_TRUE(h.sent<SamplePreview>().empty());
  h.advance(100ms);
  ASSERT_EQ(h.sent<SamplePreview>().size(), 2u);
  EXPECT_EQ(h.sent<SamplePreview>()[1].sample, 1);
  EXPECT_EQ(h.sent<SamplePreview>()[1].step, 3);
  EXPECT_EQ(h.sent<SamplePreview>()[1].request, assign.request);
  h.advance(100ms);
  EXPECT_EQ(h.sent<SamplePreview>().size(), 2u);
}

TEST(WorkerCore, OffersWhatItHoldsToANewSessionAndKeepsWhatIsWanted) {
  Harness h;
  h.feed(worker_event::Ready{});
  h.go_live();
  const Assign assign = h.assign(11);
  h.inputs_arrive(assign);
  h.finish(assign, 0, 1);
  ASSERT_EQ(h.sent<SamplesDone>().size(), 1u);
  h.hear(Rehello{});
  h.hear(Welcome{2, WorkerId{1}, 500ms, 1 << 20});
  ASSERT_FALSE(h.sent<Attach>().empty());
  const std::vector<OfferedShard> offers = h.sent<Attach>().back().offers;
  ASSERT_EQ(offers.size(), 1u);
  EXPECT_EQ(offers[0].shard, assign.shard);
  ASSERT_EQ(offers[0].held.size(), 3u);
  EXPECT_TRUE(offers[0].held[0].done);
  EXPECT_FALSE(offers[0].held[1].done);
  h.finish(assign, 1, 1);  // Meanwhile.
  EXPECT_EQ(h.sent<SamplesDone>().size(), 1u) << "nobody has asked for it";
  h.hear(Attached{WorkerId{1}, {{assign.shard, {4, 5}}}});
  ASSERT_EQ(h.sent<SamplesDone>().size(), 2u);
  const SamplesDone done = h.sent<SamplesDone>().back();
  EXPECT_EQ(done.samples.size(), 2u);
  EXPECT_EQ(done.stream_upto, 2u * 16);
  ASSERT_EQ(h.did<worker_action::Leave>().size(), 1u);
  EXPECT_EQ(h.did<worker_action::Leave>()[0].sample, 9);
  h.finish(assign, 2, 1);  // It had ended already.
  EXPECT_EQ(h.sent<SamplesDone>().size(), 2u) << "nobody wants it";
}

TEST(WorkerCore, DropsWhatANewSessionDoesNotWant) {
  Harness h;
  h.feed(worker_event::Ready{});
  h.go_live();
  const Assign assign = h.assign(11);
  h.inputs_arrive(assign);
  h.hear(Rehello{});
  h.go_live(2, 2);
  ASSERT_EQ(h.did<worker_action::Cancel>().size(), 1u);
  EXPECT_EQ(h.did<worker_action::Cancel>()[0].shard, assign.shard);
}

TEST(WorkerCore, SavesASampleAndForgetsItsStateWhenItEnds) {
  Harness h;
  h.feed(worker_event::Ready{});
  h.go_live();
  const Assign assign = h.assign(11);
  h.hear(Save{assign.shard, 5, ShardId{70}});
  EXPECT_TRUE(h.did<worker_action::Save>().empty()) << "it has not begun";
  h.inputs_arrive(assign);
  h.hear(Save{assign.shard, 5, ShardId{71}});
  h.hear(Save{assign.shard, 6, ShardId{72}});
  ASSERT_EQ(h.did<worker_action::Save>().size(), 1u);
  SampleSaved saved{assign.shard, 5, 3, 0.25, Buffer(std::make_shared<std::byte>(), 40)};
  h.feed(worker_event::Reported{saved});
  ASSERT_EQ(h.sent<Saved>().size(), 1u);
  EXPECT_EQ(h.sent<Saved>()[0].save, ShardId{71});
  EXPECT_EQ(h.sent<Saved>()[0].steps, 3);
  EXPECT_EQ(h.sent<Saved>()[0].bytes, 40u);
  const std::size_t released = h.did<worker_action::Release>().size();
  h.finish(assign, 1, 1);
  EXPECT_EQ(h.did<worker_action::Release>().size(), released + 1);
}

}  // namespace
}  // namespace pa
