// Power is lost at every point between two things that the journal tells the disk: what it had reported durable is there.

#include <gtest/gtest.h>
#include <poll.h>

#include <cstdlib>
#include <fstream>
#include <set>

#include "coordinator/journal/disk_journal.h"
#include "tests/support/journal_entries.h"
#include "tests/support/temporary_folder.h"
#include "tests/unit/journal/disk_recorder.h"

namespace pa::test {
namespace {

/// Something that the journal has reported durable, from a moment on.
struct Promise {
  std::size_t moment = 0;
  JournalReport::What what = JournalReport::What::kRequest;
  std::uint64_t request = 0;
  std::vector<std::int64_t> samples;  ///< Of kSamples.
};

/// A journal at work while its disk is recorded.
class Workload {
 public:
  explicit Workload(std::string folder) : folder_(std::move(folder)) { begin(); }

  /// The next life of the coordinator.
  void begin() {
    journal_.reset();
    auto opened = DiskJournal::open(folder_, 1);
    if (!opened.ok()) broken(__FILE__, __LINE__, opened.error().message);
    journal_ = std::move(*opened);
    (void)journal_->recover();
    epochs_.emplace_back(disk_moment(), journal_->epoch());
  }
  void request(std::uint64_t n, std::uint64_t bytes = 5000) {
    journal_->write(a_request(n, bytes));
    due_.push_back({0, JournalReport::What::kRequest, n, {}});
  }
  void samples(std::uint64_t n, std::vector<std::int64_t> samples) {
    journal_->write(some_samples(n, samples));
    due_.push_back({0, JournalReport::What::kSamples, n, std::move(samples)});
  }
  void outcome(std::uint64_t n) {
    journal_->write(an_outcome(n, {0, 1, 2, 3}));
    due_.push_back({0, JournalReport::What::kOutcome, n, {}});
  }
  void erase(std::uint64_t n) {
    erased_.emplace(n, disk_moment());  // Before the writer's thread can touch the disk.
    journal_->write(JournalErase{request_id(n)});
  }
  /// Until everything written so far was reported.
  void wait() {
    while (!due_.empty()) {
      const std::optional<JournalReport> report = journal_->next();
      if (!report) {
        pollfd polled{journal_->wakeup().fd(), POLLIN, 0};
        ::poll(&polled, 1, -1);
        journal_->wakeup().drain();
        continue;
      }
      PA_CHECK(report->status.ok() && report->request == request_id(due_.front().request));
      due_.front().moment = disk_moment();
      promises_.push_back(due_.front());
      due_.erase(due_.begin());
    }
  }
  void end() { journal_.reset(); }

  [[nodiscard]] const std::vector<Promise>& promises() const { return promises_; }
  [[nodiscard]] bool may_be_erased(std::uint64_t n, std::size_t moment) const {
    const auto found = erased_.find(n);
    return found != erased_.end() && found->second <= moment;
  }
  [[nodiscard]] std::uint64_t epoch_at(std::size_t moment) const {
    std::uint64_t epoch = 0;
    for (const auto& [since, value] : epochs_) epoch = since <= moment ? value : epoch;
    return epoch;
  }

 private:
  const std::string folder_;
  std::unique_ptr<DiskJournal> journal_;
  std::vector<Promise> due_;
  std::vector<Promise> promises_;
  std::map<std::uint64_t, std::size_t> erased_;
  std::vector<std::pair<std::size_t, std::uint64_t>> epochs_;
};

bool holds_pattern(const RecoveredRequest& request, std::uint64_t n) {
  for (const std::byte byte : request.request.input.bytes()) {
    if (byte != static_cast<std::byte>(n)) return false;
  }
  for (const SampleReport& report : request.samples) {
    const auto row = request.result.bytes().subspan(
        static_cast<std::size_t>(report.sample) * kRowBytes, kRowBytes);
    for (const std::byte byte : row) {
      if (byte != static_cast<std::byte>(10 * n + static_cast<std::uint64_t>(report.sample)))
        return false;
    }
  }
  return true;
}

/// What a journal that finds this disk must know of what was promised before `moment`.
void expect_kept(const std::string& folder, const Workload& done, std::size_t moment) {
  auto journal = DiskJournal::open(folder, 1);
  ASSERT_TRUE(journal.ok()) << journal.error().message;
  EXPECT_GT((*journal)->epoch(), done.epoch_at(moment));
  const Recovery recovery = (*journal)->recover();
  for (const std::string& damage : recovery.damage) ADD_FAILURE() << damage;
  std::map<RequestId, const RecoveredRequest*> found;
  for (const RecoveredRequest& request : recovery.requests) {
    const std::uint64_t n = request.request.submit.request.low;
    EXPECT_TRUE(holds_pattern(request, n)) << "request " << n;
    found[request.request.submit.request] = &request;
  }
  for (const Promise& promise : done.promises()) {
    if (promise.moment > moment || done.may_be_erased(promise.request, moment)) continue;
    const auto request = found.find(request_id(promise.request));
    ASSERT_NE(request, found.end()) << "request " << promise.request << " is lost";
    if (promise.what == JournalReport::What::kOutcome) {
      EXPECT_TRUE(request->second->outcome) << "the outcome of " << promise.request << " is lost";
    }
    for (const std::int64_t sample : promise.samples) {
      const auto& kept = request->second->samples;
      EXPECT_TRUE(std::any_of(kept.begin(), kept.end(),
                              [&](const SampleReport& report) { return report.sample == sample; }))
          << "sample " << sample << " of " << promise.request << " is lost";
    }
  }
}

TEST(PowerLoss, LosesNothingThatWasReportedDurable) {
  const TemporaryFolder root;
  const std::string folder = root.path() + "/journal";
  record_disk(folder);
  Workload work(folder);
  for (std::uint64_t n = 1; n <= 12; ++n) {
    work.request(n);
    if (n % 3 != 0) work.wait();  // Some batches hold more than one entry.
    work.samples(n, {0});
    work.samples(n, {2, 3});
    work.wait();
    if (n % 4 == 0) {
      work.begin();
    } else {
      work.samples(n, {1});
      work.outcome(n);
      work.wait();
      if (n % 2 == 0) work.erase(n);
    }
  }
  // So much that SQLite writes its log back into the database while the journal works.
  work.request(13, 50'000);
  for (int i = 0; i < 150; ++i) {
    work.samples(13, {i % 4});
    work.wait();
  }
  work.end();
  const std::vector<DiskOperation> operations = end_disk_recording();
  std::set<DiskOperation::Kind> kinds;
  for (const DiskOperation& operation : operations) kinds.insert(operation.kind);
  EXPECT_EQ(kinds.size(), 6u) << "some of what the journal does is not seen";

  // A few hundred points, spread by a seed; with PA_FULL_SIZE all of them.
  const bool all = std::getenv("PA_FULL_SIZE") != nullptr;
  std::mt19937_64 random(std::random_device{}());
  const std::uint64_t seed = random();
  SCOPED_TRACE("seed " + std::to_string(seed));
  random.seed(seed);
  DiskImage disk;
  int cuts = 0;
  for (std::size_t moment = 0; moment <= operations.size(); ++moment) {
    if (all || random() % operations.size() < 120) {
      for (const Unsynced unsynced : {Unsynced::kLost, Unsynced::kWritten, Unsynced::kTorn}) {
        const TemporaryFolder left;
        disk.write_to(left.path() + "/journal", unsynced, random);
        expect_kept(left.path() + "/journal", work, moment);
        ASSERT_FALSE(::testing::Test::HasFailure())
            << "power lost after operation " << moment << " of " << operations.size()
            << ", what was not synced " << static_cast<int>(unsynced);
        ++cuts;
      }
    }
    if (moment < operations.size()) disk.apply(operations[moment]);
  }
  RecordProperty("cuts", cuts);
  std::printf("%d power cuts at %zu operations\n", cuts, operations.size());
}

/// The test above can fail: a disk that says it has synced, and has not, loses what was promised.
TEST(PowerLoss, IsSeenIfTheDiskLies) {
  const TemporaryFolder root;
  const std::string folder = root.path() + "/journal";
  record_disk(folder);
  Workload work(folder);
  work.request(1);
  work.wait();
  work.end();
  DiskImage disk;
  for (const DiskOperation& operation : end_disk_recording()) {
    if (operation.kind != DiskOperation::Kind::kSync) disk.apply(operation);
  }
  const TemporaryFolder left;
  std::mt19937_64 random(1);
  disk.write_to(left.path() + "/journal", Unsynced::kLost, random);
  auto journal = DiskJournal::open(left.path() + "/journal", 1);
  ASSERT_TRUE(journal.ok());
  EXPECT_TRUE((*journal)->recover().requests.empty());
}

}  // namespace
}  // namespace pa::test
