// What a client does when its coordinator is slow, silent or says no. Lossy networks are tests/sim.

#include "clients/cpp/client_job.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "shared/wire/buffer_pool.h"

namespace pa {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;

/// A job whose coordinator is the test.
class ClientJobTest : public ::testing::Test {
 protected:
  void begin(std::uint64_t input_bytes, std::optional<Duration> patience = std::nullopt) {
    Submission submission;
    submission.id = {7, 7};
    submission.body = "{}";
    if (input_bytes > 0) {
      const auto count = static_cast<std::int64_t>(input_bytes);
      submission.tensors = {{{"x", DType::kU8, {count}}, pool_.allocate(input_bytes)}};
    }
    JobOptions options;
    options.endpoint = "ipc:///there";
    options.patience = patience;
    JobCallbacks callbacks;
    callbacks.on_accepted = [this](const Accepted&) -> Result<Buffer> {
      ++accepted_;
      if (refuse_place_) return internal("disk full");
      result_ = pool_.allocate(4);
      return result_;
    };
    callbacks.on_notice = [this](std::string_view text) { notices_.emplace_back(text); };
    job_.emplace(streams_, BufferId{1}, std::move(submission), options, callbacks);
    turn();
  }

  void turn() {
    job_->tick(now_, out_);
    std::vector<StreamEvent> events;
    streams_.pump(now_, out_, events);
    for (const StreamEvent& event : events) job_->on(event, now_);
  }

  /// Turns at every deadline until `by` has passed.
  void pass(Duration by) {
    const TimePoint end = now_ + by;
    while (!job_->end() && job_->next_deadline() && *job_->next_deadline() <= end) {
      now_ = std::max(now_, *job_->next_deadline());
      turn();
    }
    now_ = end;
  }

  void hear(const Message& message) {
    job_->on(message, now_, out_);
    turn();
  }

  Accepted accepted(std::uint64_t run = 1) const {
    Accepted message;
    message.request = {7, 7};
    message.run = run;
    message.result = {"samples", DType::kF32, {1}};
    return message;
  }
  Done done(std::uint64_t run = 1) const {
    Done message;
    message.request = {7, 7};
    message.run = run;
    message.result_bytes = 4;
    return message;
  }
  void put_result(std::uint64_t run = 1) {
    const std::vector<std::byte> bytes(4, std::byte{9});
    Put put{{StreamKind::kRequestResult, {7, 7}, ShardId{run}}, 0, 0};
    streams_.on(PeerId{0}, put, bytes, now_);
    job_->on(put, now_, out_);
    turn();
  }

  template <class T>
  std::size_t sent() const {
    return static_cast<std::size_t>(
        std::count_if(out_.begin(), out_.end(),
                      [](const Outgoing& out) { return std::holds_alternative<T>(out.message); }));
  }

  BufferPool pool_{0};
  Streams streams_{StreamOptions{}};
  TimePoint now_{seconds{100}};
  std::vector<Outgoing> out_;
  std::optional<ClientJob> job_;
  Buffer result_;
  std::vector<std::string> notices_;
  int accepted_ = 0;
  bool refuse_place_ = false;
};

TEST_F(ClientJobTest, LittleIsSentUnasked) {
  begin(1000);
  EXPECT_EQ(sent<Submit>(), 1U);
  EXPECT_EQ(sent<Put>(), 1U);
}

TEST_F(ClientJobTest, MuchIsSentWhenAskedFor) {
  begin(kEagerBytes + 1);
  EXPECT_EQ(sent<Put>(), 0U);
  streams_.on(PeerId{0}, Want{{StreamKind::kRequestInput, {7, 7}, ShardId{}}, 0, 8u << 20}, now_);
  turn();
  EXPECT_EQ(sent<Put>(), 2U);
}

TEST_F(ClientJobTest, EndsWellWhenBytesAndDoneAreThere) {
  begin(0);
  hear(accepted());
  put_result();
  EXPECT_FALSE(job_->end());
  hear(done());
  ASSERT_TRUE(job_->end() && job_->end()->ok());
  EXPECT_EQ(result_.data()[3], std::byte{9});
  EXPECT_EQ(sent<DoneAck>(), 0U);  // The caller makes the result safe first.
  job_->acknowledge(out_);
  EXPECT_EQ(sent<DoneAck>(), 1U);
}

TEST_F(ClientJobTest, WaitsForBytesThatAreStillUnderWay) {
  begin(0);
  hear(accepted());
  hear(done());
  EXPECT_FALSE(job_->end());
  put_result();
  EXPECT_TRUE(job_->end());
}

TEST_F(ClientJobTest, AsksAgainIfAcceptedWasLost) {
  begin(0);
  hear(done());
  EXPECT_FALSE(job_->end());
  EXPECT_EQ(sent<Submit>(), 2U);
}

TEST_F(ClientJobTest, TheEndOfANewRunThatOvertakesItsBeginningIsNotTheOldRuns) {
  begin(0);
  hear(accepted(1));
  put_result(1);
  hear(done(2));
  EXPECT_FALSE(job_->end());
  EXPECT_EQ(sent<Submit>(), 2U);  // Asks for the Accepted that it has not seen.
  hear(accepted(2));
  hear(done(2));
  put_result(2);
  EXPECT_TRUE(job_->end());
}

TEST_F(ClientJobTest, ANewRunStartsTheResultAnewInTheSamePlace) {
  begin(0);
  hear(accepted(1));
  put_result();
  hear(accepted(2));
  hear(done(2));
  EXPECT_FALSE(job_->end());
  put_result(1);
  EXPECT_FALSE(job_->end());
  put_result(2);
  EXPECT_TRUE(job_->end());
  EXPECT_EQ(accepted_, 1);
}

TEST_F(ClientJobTest, AnAbsentCoordinatorIsNamedAfterTenSeconds) {
  begin(0);
  pass(seconds{9});
  EXPECT_FALSE(job_->end());
  EXPECT_EQ(sent<Submit>(), 4U);  // At 0, 1, 3 and 7 s.
  pass(seconds{1});
  ASSERT_TRUE(job_->end());
  EXPECT_EQ(job_->end()->error().code, Code::kUnavailable);
  EXPECT_THAT(job_->end()->error().message, HasSubstr("ipc:///there"));
}

TEST_F(ClientJobTest, ASilentCoordinatorIsTriedForEverUnlessPatienceEnds) {
  begin(0);
  hear(accepted());
  pass(std::chrono::hours{1});
  EXPECT_FALSE(job_->end());
  EXPECT_TRUE(job_->take_reconnect());
  EXPECT_EQ(notices_.size(), 1U);
  hear(accepted());
  EXPECT_EQ(notices_.back(), "the coordinator is back");

  begin(0, seconds{20});
  hear(accepted());
  pass(seconds{19});
  EXPECT_FALSE(job_->end());
  pass(seconds{1});
  ASSERT_TRUE(job_->end());
  EXPECT_EQ(job_->end()->error().code, Code::kUnavailable);
}

TEST_F(ClientJobTest, ARefusalEndsItWithTheReason) {
  begin(0);
  Refused refused{{7, 7}, overloaded("queue full"), 3};
  hear(refused);
  ASSERT_TRUE(job_->end());
  EXPECT_EQ(job_->end()->error().code, Code::kOverloaded);
  EXPECT_EQ(job_->end()->error().message, "queue full; try again in 3 s");
}

TEST_F(ClientJobTest, ARestartedCoordinatorThatHasNoWorkersYetIsAskedAgain) {
  begin(4);
  hear(accepted(1));
  out_.clear();
  for (int i = 0; i < 3; ++i) {
    hear(Refused{{7, 7}, unavailable("no worker is live"), 1});
    EXPECT_EQ(sent<Submit>(), static_cast<std::size_t>(i));
    pass(seconds{1});
  }
  EXPECT_EQ(sent<Put>(), 3U);  // The new coordinator does not have the inputs.
  EXPECT_EQ(notices_.size(), 1U);
  hear(accepted(2));
  hear(done(2));
  put_result(2);
  ASSERT_TRUE(job_->end());
  EXPECT_TRUE(job_->end()->ok());
}

TEST_F(ClientJobTest, ARestartedCoordinatorMayRefuseForGood) {
  begin(0);
  hear(accepted(1));
  hear(Refused{{7, 7}, invalid("samples is 9; this cluster takes 1 to 8"), 0});
  ASSERT_TRUE(job_->end());
  EXPECT_EQ(job_->end()->error().code, Code::kInvalid);
}

TEST_F(ClientJobTest, AFailureIsAcknowledgedAtOnce) {
  begin(0);
  hear(accepted());
  Done failed = done();
  failed.failed = true;
  failed.error = {Code::kDeadline, "too late", {}};
  hear(failed);
  ASSERT_TRUE(job_->end());
  EXPECT_EQ(job_->end()->error().code, Code::kDeadline);
  EXPECT_EQ(sent<DoneAck>(), 1U);
}

TEST_F(ClientJobTest, ACancelIsRepeatedAndDoesNotWaitForEver) {
  begin(0);
  hear(accepted());
  job_->cancel(now_, out_);
  pass(milliseconds{2500});
  EXPECT_EQ(sent<Cancel>(), 3U);
  EXPECT_FALSE(job_->end());
  pass(seconds{3});
  ASSERT_TRUE(job_->end());
  EXPECT_EQ(job_->end()->error().code, Code::kCancelled);
}

TEST_F(ClientJobTest, WithoutAPlaceForTheResultTheRequestIsCancelled) {
  refuse_place_ = true;
  begin(0);
  hear(accepted());
  ASSERT_TRUE(job_->end());
  EXPECT_EQ(job_->end()->error().message, "disk full");
  EXPECT_EQ(sent<Cancel>(), 1U);
}

TEST_F(ClientJobTest, TensorsMustHaveTheBytesOfTheirShape) {
  Submission submission;
  submission.tensors = {{{"x", DType::kF32, {4}}, pool_.allocate(3)}};
  ClientJob job(streams_, BufferId{50}, std::move(submission), {}, {});
  job.tick(now_, out_);
  ASSERT_TRUE(job.end());
  EXPECT_THAT(job.end()->error().message, HasSubstr("needs 16 bytes and has 3"));
}

}  // namespace
}  // namespace pa
