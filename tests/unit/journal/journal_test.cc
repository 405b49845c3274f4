// What every journal that outlives the coordinator must do.

#include "coordinator/journal/journal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

#include "coordinator/journal/disk_journal.h"
#include "coordinator/journal/memory_journal.h"
#include "tests/support/journal_entries.h"
#include "tests/support/temporary_folder.h"

namespace pa::test {
namespace {

/// A journal over several lives of a coordinator.
class Lives {
 public:
  virtual ~Lives() = default;
  /// A new life: what came before is gone but for what is durable.
  virtual Journal& begin() = 0;
  virtual JournalReport wait() = 0;
};

class MemoryLives final : public Lives {
 public:
  Journal& begin() override { return journal_; }
  JournalReport wait() override { return journal_.next().value(); }

 private:
  MemoryJournal journal_{true};
};

class DiskLives final : public Lives {
 public:
  Journal& begin() override {
    journal_.reset();
    auto opened = DiskJournal::open(folder_.path() + "/journal", 7);
    if (!opened.ok()) broken(__FILE__, __LINE__, opened.error().message);
    journal_ = std::move(*opened);
    return *journal_;
  }
  JournalReport wait() override {
    while (true) {
      if (auto report = journal_->next()) return *report;
      pollfd polled{journal_->wakeup().fd(), POLLIN, 0};
      ::poll(&polled, 1, -1);
      journal_->wakeup().drain();
    }
  }

 private:
  TemporaryFolder folder_;
  std::unique_ptr<DiskJournal> journal_;
};

template <class T>
class JournalContract : public ::testing::Test {
 public:
  T lives;

  /// A new life, with what it found.
  Recovery begin() {
    journal = &lives.begin();
    return journal->recover();
  }
  /// Writes, and waits until it is durable.
  void keep(JournalEntry entry) {
    const std::optional<JournalReport> expected = report_of(entry);
    journal->write(std::move(entry));
    if (!expected) return;
    const JournalReport report = lives.wait();
    EXPECT_TRUE(report.status.ok());
    EXPECT_EQ(report.request, expected->request);
    EXPECT_EQ(report.what, expected->what);
  }

  Journal* journal = nullptr;
};

using Implementations = ::testing::Types<MemoryLives, DiskLives>;
TYPED_TEST_SUITE(JournalContract, Implementations);

TYPED_TEST(JournalContract, BeginsEmpty) {
  const Recovery recovery = this->begin();
  EXPECT_TRUE(recovery.requests.empty());
  EXPECT_TRUE(recovery.ended.empty());
  EXPECT_TRUE(recovery.damage.empty());
}

TYPED_TEST(JournalContract, GivesBackRequestsInTheirOrder) {
  this->begin();
  for (const std::uint64_t n : {3u, 1u, 2u}) this->keep(a_request(n));
  const Recovery recovery = this->begin();
  ASSERT_EQ(recovery.requests.size(), 3u);
  EXPECT_EQ(recovery.requests[0].request.submit.request, request_id(3));
  EXPECT_EQ(recovery.requests[1].request.submit.request, request_id(1));
  const JournalRequest& request = recovery.requests[2].request;
  EXPECT_EQ(request.submit.body, "body 2");
  ASSERT_EQ(request.submit.tensors.size(), 1u);
  EXPECT_EQ(request.submit.tensors[0].spec, (TensorSpec{"x", DType::kF32, {1, 25}}));
  EXPECT_EQ(request.submit.tensors[0].digest, (Digest{1, 2}));
  EXPECT_EQ(request.model, a_request(2).model);
  ASSERT_EQ(request.input.size(), 100u);
  EXPECT_EQ(request.input.data()[99], std::byte{2});
  EXPECT_TRUE(recovery.requests[2].samples.empty());
  EXPECT_FALSE(recovery.requests[2].outcome.has_value());
}

TYPED_TEST(JournalContract, KeepsRequestsWithoutTensors) {
  this->begin();
  this->keep(a_request(1, 0));
  const Recovery recovery = this->begin();
  ASSERT_EQ(recovery.requests.size(), 1u);
  EXPECT_TRUE(recovery.requests[0].request.input.empty());
}

TYPED_TEST(JournalContract, GivesBackFinishedSamples) {
  this->begin();
  this->keep(a_request(1));
  this->keep(some_samples(1, {2}));
  JournalSamples more = some_samples(1, {0});
  more.reports.push_back(a_report(3, true));
  this->keep(more);
  const Recovery recovery = this->begin();
  ASSERT_EQ(recovery.requests.size(), 1u);
  const RecoveredRequest& request = recovery.requests[0];
  std::vector<std::int64_t> samples;
  for (const SampleReport& report : request.samples) samples.push_back(report.sample);
  EXPECT_THAT(samples, ::testing::UnorderedElementsAre(0, 2, 3));
  ASSERT_EQ(request.result.size(), 4 * kRowBytes);
  EXPECT_EQ(request.result.data()[0], std::byte{10});
  EXPECT_EQ(request.result.data()[3 * kRowBytes - 1], std::byte{12});
  for (const SampleReport& report : request.samples) {
    EXPECT_EQ(report.failed, report.sample == 3);
    EXPECT_EQ(report.worker, "w");
    EXPECT_EQ(report.steps, 4);
  }
}

TYPED_TEST(JournalContract, GivesBackOutcomes) {
  this->begin();
  this->keep(a_request(1));
  this->keep(some_samples(1, {0, 1, 2, 3}));
  this->keep(an_outcome(1, {0, 1, 2, 3}));
  const Recovery recovery = this->begin();
  ASSERT_TRUE(recovery.requests.at(0).outcome.has_value());
  EXPECT_EQ(recovery.requests[0].outcome->seconds, 1.5);
  EXPECT_EQ(recovery.requests[0].outcome->samples.size(), 4u);
}

TYPED_TEST(JournalContract, ForgetsErasedRequestsButTheirIds) {
  this->begin();
  this->keep(a_request(1));
  this->keep(a_request(2));
  this->keep(some_samples(1, {0}));
  this->keep(JournalErase{request_id(1)});
  this->keep(JournalErase{request_id(9)});  // never known
  this->keep(a_request(3));                 // so that the erasure is durable too
  const Recovery recovery = this->begin();
  ASSERT_EQ(recovery.requests.size(), 2u);
  EXPECT_EQ(recovery.requests[0].request.submit.request, request_id(2));
  EXPECT_THAT(recovery.ended, ::testing::ElementsAre(request_id(1)));
}

TYPED_TEST(JournalContract, RemembersOverManyLives) {
  for (std::uint64_t life = 1; life <= 5; ++life) {
    const Recovery recovery = this->begin();
    EXPECT_EQ(recovery.requests.size(), life - 1);
    this->keep(a_request(life));
    this->keep(some_samples(life, {1}));
  }
  const Recovery recovery = this->begin();
  ASSERT_EQ(recovery.requests.size(), 5u);
  EXPECT_EQ(recovery.requests[0].samples.size(), 1u);
}

}  // namespace
}  // namespace pa::test
