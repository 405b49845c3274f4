// What a client does when its coordinator is slow, silent or says no. Lossy networks are tests/sim.

#include "clients/cpp/client_job.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "shared/io/digest.h"
#include "shared/wire/buffer_pool.h"
#include "tests/support/sharing_transport.h"

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

/// A job on the coordinator's box, of a result of three rows of 4 bytes.
class SharingJobTest : public ClientJobTest {
 protected:
  static constexpr std::uint64_t kRows = 3;

  void begin_sharing() {
    Submission submission;
    submission.id = {7, 7};
    submission.body = "{}";
    JobOptions options;
    options.memory = &memory_;
    JobCallbacks callbacks;
    callbacks.on_accepted = [this](const Accepted&) -> Result<Buffer> {
      result_ = pool_.allocate(4 * kRows);
      return result_;
    };
    callbacks.on_shared_result = [this](const Accepted&, Buffer result) {
      result_ = std::move(result);
    };
    job_.emplace(streams_, BufferId{1}, std::move(submission), options, callbacks);
    turn();
  }

  [[nodiscard]] Submit submit(std::size_t index) const {
    std::vector<Submit> found;
    for (const Outgoing& out : out_) {
      if (const auto* submit = std::get_if<Submit>(&out.message)) found.push_back(*submit);
    }
    return found.at(index);
  }

  /// The coordinator takes the request, and the memory that was offered with it.
  void accept(std::uint64_t run = 1, bool in_your_memory = true) {
    Accepted message = accepted(run);
    message.result.shape = {kRows, 1};
    message.in_your_memory = in_your_memory;
    hear(message);
  }

  /// The result is in `segment`: rows of bytes 1, 2 and 3. Sample 1 may have failed.
  void finish(const Segment& segment, bool failed = false, bool late_writers = false,
              std::uint64_t run = 1) {
    Done message = done(run);
    message.result_bytes = 0;
    message.late_writers = late_writers;
    for (std::uint64_t i = 0; i < kRows; ++i) {
      const std::vector<std::byte> row(4, static_cast<std::byte>(i + 1));
      ASSERT_TRUE(segment.write(4 * i, row).ok());
      SampleReport report;
      report.sample = static_cast<std::int64_t>(i);
      report.failed = failed && i == 1;
      report.digest = digest_of(row);
      message.samples.push_back(report);
    }
    hear(message);
  }

  void expect_rows(int first, int second, int third) {
    ASSERT_TRUE(job_->end());
    ASSERT_TRUE(job_->end()->ok()) << job_->end()->error().message;
    ASSERT_EQ(result_.size(), 4 * kRows);
    EXPECT_EQ(std::to_integer<int>(result_.data()[0]), first);
    EXPECT_EQ(std::to_integer<int>(result_.data()[7]), second);
    EXPECT_EQ(std::to_integer<int>(result_.data()[11]), third);
  }

  test::SharingTransport transport_;
  ClientMemory memory_{transport_};
};

TEST_F(SharingJobTest, OffersMemoryOnceItKnowsHowMuch) {
  begin_sharing();
  EXPECT_EQ(submit(0).result_segment, 0U);
  memory_.expect_result(4 * kRows);
  begin_sharing();
  EXPECT_NE(submit(1).result_segment, 0U);
  EXPECT_EQ(transport_.given.at(submit(1).result_segment).bytes(), 4 * kRows);
  pass(seconds{2});
  EXPECT_EQ(submit(2).result_segment, 0U) << "an earlier coordinator may have had it";
}

TEST_F(SharingJobTest, HasItsResultWhereItOfferedAndUsesThatAgain) {
  memory_.expect_result(4 * kRows);
  begin_sharing();
  const Segment mine = transport_.given.begin()->second;
  accept();
  EXPECT_EQ(sent<Want>(), 0U);
  finish(mine);
  expect_rows(1, 2, 3);
  job_->acknowledge(out_);
  result_ = {};
  memory_.expect_result(4 * kRows);
  EXPECT_EQ(memory_.offer_result(50).segment.identity(), mine.identity());
}

TEST_F(SharingJobTest, TheCoordinatorMayHaveTheResultElsewhere) {
  memory_.expect_result(4 * kRows);
  begin_sharing();
  const Segment theirs = *Segment::create(4 * kRows);
  transport_.offered.emplace(70, theirs);
  Accepted message = accepted();
  message.result.shape = {kRows, 1};
  message.segment = 70;
  hear(message);
  finish(theirs);
  expect_rows(1, 2, 3);
  job_->acknowledge(out_);
  result_ = {};
  memory_.expect_result(4 * kRows);
  EXPECT_NE(memory_.offer_result(50).segment.identity(), theirs.identity());
}

TEST_F(SharingJobTest, AFailedSamplesRowIsZerosWhateverWasThere) {
  memory_.expect_result(4 * kRows);
  begin_sharing();
  accept();
  finish(transport_.given.begin()->second, /*failed=*/true);
  expect_rows(1, 0, 3);
}

TEST_F(SharingJobTest, WhatMayStillChangeIsCopiedAndNotUsedAgain) {
  memory_.expect_result(4 * kRows);
  begin_sharing();
  const Segment mine = transport_.given.begin()->second;
  accept();
  finish(mine, /*failed=*/true, /*late_writers=*/true);
  const std::vector<std::byte> late(4 * kRows, std::byte{99});
  ASSERT_TRUE(mine.write(0, late).ok());
  expect_rows(1, 0, 3);
  job_->acknowledge(out_);
  result_ = {};
  memory_.expect_result(4 * kRows);
  EXPECT_NE(memory_.offer_result(50).segment.identity(), mine.identity());
}

TEST_F(SharingJobTest, AnotherRunMayNotHaveTheOfferedMemory) {
  memory_.expect_result(4 * kRows);
  begin_sharing();
  const Segment mine = transport_.given.begin()->second;
  accept(1);
  accept(2, /*in_your_memory=*/true);  // It never got any.
  EXPECT_EQ(sent<Want>(), 1U) << "the bytes are asked for";
  finish(mine, false, false, 2);
  EXPECT_FALSE(job_->end());
}

TEST_F(SharingJobTest, ADamagedRowIsAnError) {
  memory_.expect_result(4 * kRows);
  begin_sharing();
  const Segment mine = transport_.given.begin()->second;
  accept();
  Done message = done();
  message.result_bytes = 0;
  SampleReport report;
  report.sample = 2;
  report.worker = "w1";
  report.digest = digest_of(std::vector<std::byte>(4, std::byte{1}));
  message.samples = {report};
  hear(message);
  ASSERT_TRUE(job_->end());
  EXPECT_THAT(job_->end()->error().message, HasSubstr("sample 2, made by w1, was damaged"));
}

TEST_F(SharingJobTest, AReportOfASampleThatIsNotThereIsAnError) {
  for (const std::int64_t sample : {std::int64_t{-1}, std::int64_t{3}, std::int64_t{1} << 62}) {
    memory_.expect_result(4 * kRows);
    begin_sharing();
    accept();
    Done message = done();
    message.result_bytes = 0;
    SampleReport report;
    report.sample = sample;
    report.failed = true;
    message.samples = {report};
    hear(message);
    ASSERT_TRUE(job_->end());
    EXPECT_EQ(job_->end()->error().code, Code::kInternal) << sample;
  }
}

}  // namespace
}  // namespace pa
