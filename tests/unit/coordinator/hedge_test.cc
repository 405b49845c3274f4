// A device that is stuck: whose bytes go where while two workers have a sample.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/core/coordinator.h"

namespace pa {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const Shape kRow{16, 64, 64};
constexpr std::uint64_t kRowBytes = 16ull * 64 * 64 * 4;

/// A worker that takes a second for a pass, and was given two samples; another like it, which is idle. Both share memory.
class Hedges : public ::testing::Test {
 protected:
  Hedges() : core_(CoordinatorOptions{}) {
    join(1);
    submit(1, 2);
    first_ = sent<Assign>().at(0);
    join(2);
  }

  void submit(std::uint64_t n, std::int64_t samples, std::vector<std::string> workers = {}) {
    Request body;
    body.model = "noop";
    body.samples = samples;
    body.latent_shape = kRow;
    body.schedule = ScheduleSpec{"simple", 10, 1.0};
    body.workers = std::move(workers);
    Submit submit;
    submit.request = RequestId{9, n};
    feed(event::Submitted{PeerId{n}, submit, body});
    feed(event::Journaled{submit.request, event::Journaled::What::kRequest, {}});
  }

  void join(std::uint64_t n) {
    Hello hello;
    hello.boot = n;
    hello.name = "w" + std::to_string(n);
    hello.max_rows = 2;
    hello.yields = true;
    ModelInfo model;
    model.name = "noop";
    model.family = "noop";
    model.identity = "sha256:0";
    hello.models = {model};
    feed(event::FromWorker{PeerId{100 + n}, false, hello});
    const WorkerId id = sent<Welcome>().back().worker;
    feed(event::FromWorker{PeerId{200 + n}, true, Attach{id, n}, "", true});
    WorkerProgress progress;
    progress.worker = id;
    for (const std::int64_t rows : {1, 2})
      progress.passes.push_back({"noop", kRow, rows, 5, 5, true});
    feed(event::FromWorker{PeerId{100 + n}, false, progress});
  }
  void feed(const Event& event) {
    core_.step(event, now_, actions_);
    core_.check_invariants();
  }
  /// Worker 1 says that its pass runs for so long.
  void beat(Duration busy_for) {
    now_ += 100ms;
    feed(event::FromWorker{PeerId{101}, false,
                           Heartbeat{WorkerId{1}, 0, 0, 0, busy_for, {first_.shard}, {}}});
  }
  /// The worker of a shard has the sample's row.
  void finish(std::uint64_t n, const Assign& assign, std::int64_t sample, bool in_place) {
    SamplesDone done;
    done.shard = assign.shard;
    done.stream_upto = in_place ? 0 : kRowBytes;
    done.in_place = in_place;
    done.samples.emplace_back().sample = sample;
    feed(event::FromWorker{PeerId{200 + n}, true, done});
    if (in_place) return;
    feed(StreamArrived{{StreamKind::kShardResult, assign.request, assign.shard}, kRowBytes, false});
  }

  template <class T>
  std::vector<T> sent() const {
    std::vector<T> found;
    for (const action::Send& send : did<action::Send>()) {
      if (const T* message = std::get_if<T>(&send.message)) found.push_back(*message);
    }
    return found;
  }
  template <class T>
  std::vector<T> did() const {
    std::vector<T> found;
    for (const Action& action : actions_) {
      if (const T* typed = std::get_if<T>(&action)) found.push_back(*typed);
    }
    return found;
  }
  [[nodiscard]] action::Receive receive_of(const Assign& assign) const {
    for (const auto& receive : did<action::Receive>()) {
      if (receive.stream.shard == assign.shard) return receive;
    }
    return {};
  }

  std::vector<Action> actions_;
  TimePoint now_{1h};
  Coordinator core_;
  Assign first_;
};

TEST_F(Hedges, ALateWorkersSamplesBeginAgain) {
  EXPECT_THAT(first_.samples, ElementsAre(0, 1));
  beat(1500ms);
  beat(2900ms);
  EXPECT_THAT(sent<Assign>(), SizeIs(1));
  EXPECT_THAT(sent<SendRows>(), IsEmpty());
  beat(3100ms);
  ASSERT_THAT(sent<Assign>(), SizeIs(3));
  EXPECT_THAT(sent<SendRows>(), SizeIs(1));
  EXPECT_EQ(sent<SendRows>()[0].shard, first_.shard);
  for (const std::size_t i : {1, 2}) {
    const Assign copy = sent<Assign>()[i];
    const action::Receive receive = receive_of(copy);
    EXPECT_THAT(copy.samples, SizeIs(1)) << "each may end by itself";
    EXPECT_EQ(copy.result_segment, 0u) << "the late one may write there yet";
    EXPECT_NE(receive.buffer, receive_of(first_).buffer);
    EXPECT_EQ(receive.base, static_cast<std::uint64_t>(copy.samples[0]) * kRowBytes);
  }
}

TEST_F(Hedges, TheFirstResultCounts) {
  beat(3100ms);
  const std::vector<Assign> copies = {sent<Assign>().at(1), sent<Assign>().at(2)};
  finish(2, copies[0], copies[0].samples[0], false);
  const auto copied = did<action::Copy>();
  ASSERT_THAT(copied, SizeIs(1));
  EXPECT_EQ(copied[0].from, receive_of(copies[0]).buffer);
  EXPECT_EQ(copied[0].to, receive_of(first_).buffer);
  EXPECT_EQ(copied[0].offset, static_cast<std::uint64_t>(copies[0].samples[0]) * kRowBytes);
  // The late one is to do nothing more, and what it says is not heard.
  EXPECT_THAT(sent<Revoke>(), ::testing::Contains(::testing::Field(&Revoke::shard, first_.shard)));
  finish(1, first_, copies[1].samples[0], true);
  EXPECT_THAT(sent<Done>(), IsEmpty());
  finish(2, copies[1], copies[1].samples[0], false);
  feed(event::Journaled{first_.request, event::Journaled::What::kOutcome, {}});
  ASSERT_THAT(sent<Done>(), SizeIs(1));
  const Done done = sent<Done>()[0];
  for (const SampleReport& report : done.samples) EXPECT_EQ(report.worker, "w2");
  EXPECT_TRUE(done.late_writers) << "the other may be writing its rows this moment";
}

TEST_F(Hedges, WhoIsInTimeWritesNothingLater) {
  finish(1, first_, 0, true);
  finish(1, first_, 1, true);
  feed(event::Journaled{first_.request, event::Journaled::What::kOutcome, {}});
  ASSERT_THAT(sent<Done>(), SizeIs(1));
  EXPECT_FALSE(sent<Done>()[0].late_writers);
}

TEST_F(Hedges, AlsoIfItIsTheLateOnes) {
  beat(3100ms);
  const Assign copy = sent<Assign>().at(1);
  const std::int64_t sample = copy.samples[0];
  finish(1, first_, sample, true);
  EXPECT_THAT(sent<Revoke>(), ::testing::Contains(::testing::Field(&Revoke::shard, copy.shard)));
  finish(2, copy, sample, false);
  EXPECT_THAT(did<action::Copy>(), IsEmpty());
}

TEST_F(Hedges, AWorkerThatIsLateGetsNothing) {
  beat(3100ms);
  const std::size_t before = sent<Assign>().size();
  submit(2, 1, {"w1"});
  EXPECT_THAT(sent<Assign>(), SizeIs(before));
  beat(0s);  // What it told of the end of its pass was lost.
  EXPECT_THAT(sent<Assign>(), SizeIs(before)) << "it has its samples yet, as others have";
  const std::vector<Yield> asked = sent<Yield>();
  for (const Yield& yield : asked) {
    feed(event::FromWorker{PeerId{201}, true,
                           Yielded{WorkerId{1}, yield.shard, yield.move, yield.sample, 0, 0}});
  }
  EXPECT_THAT(sent<Assign>(), SizeIs(before + 1));
}

}  // namespace
}  // namespace pa
