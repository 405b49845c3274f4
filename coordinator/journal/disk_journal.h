#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "coordinator/journal/database.h"
#include "coordinator/journal/journal.h"
#include "coordinator/journal/spool.h"
#include "shared/io/queue.h"
#include "shared/io/wakeup.h"

namespace pa {

/// A journal in a folder: records in SQLite, tensors in files beside it. Entries that wait at the same time are
/// synced and committed together.
///
/// Order of every batch: tensors are written and synced, then their records are committed, then they are
/// reported, and what was erased is unlinked. So a record never speaks of bytes that are not there, and
/// files that no record speaks of are leftovers, removed by recover().
class DiskJournal final : public Journal {
 public:
  /// Opens the journal in `folder`, which is made (mode 0700) if need be. `first_epoch`: of a new journal.
  ///
  /// Errors: as JournalDatabase::open, and if the folder cannot be made. A damaged journal opens.
  [[nodiscard]] static Result<std::unique_ptr<DiskJournal>> open(const std::string& folder,
                                                                 std::uint64_t first_epoch);
  /// Writes what waits, then ends.
  ~DiskJournal() override;

  /// Counts the openings of this journal, durably.
  [[nodiscard]] std::uint64_t epoch() const { return epoch_; }

  /// Wakes the loop when next() has something.
  [[nodiscard]] Wakeup& wakeup() { return reported_; }

  [[nodiscard]] Recovery recover() override;
  void write(JournalEntry entry) override;
  [[nodiscard]] std::optional<JournalReport> next() override;
  [[nodiscard]] bool durable() const override { return true; }
  [[nodiscard]] std::string describe() const override { return "disk: " + folder_; }

 private:
  DiskJournal(std::string folder, JournalDatabase database, std::uint64_t epoch);

  [[nodiscard]] std::optional<RecoveredRequest> recover(const JournalDatabase::Request& stored,
                                                        std::vector<std::string>& damage) const;

  // The writer's thread.
  void write_all();
  void write_batch(std::vector<JournalEntry>& batch);
  [[nodiscard]] Status write_tensors(const JournalEntry& entry);
  [[nodiscard]] Status write_records(const JournalEntry& entry);
  [[nodiscard]] Status commit(const std::vector<JournalEntry>& batch,
                              const std::vector<Status>& statuses);

  const std::string folder_;
  const std::uint64_t epoch_;
  JournalDatabase database_;             ///< The loop's until recover() returns, then the writer's.
  Spool spool_;                          ///< Likewise.
  std::set<RequestId> erasing_;          ///< The writer's: erased, and not yet committed so.
  BoundedQueue<JournalEntry> entries_;   ///< loop -> writer
  BoundedQueue<JournalReport> reports_;  ///< writer -> loop
  std::deque<JournalReport> refused_;    ///< The loop's: entries that the queue had no room for.
  Wakeup reported_;
  std::thread writer_;
};

}  // namespace pa
