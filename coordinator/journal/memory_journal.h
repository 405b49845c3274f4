#pragma once

#include <deque>
#include <map>

#include "coordinator/journal/journal.h"

namespace pa {

/// Keeps nothing beyond the process. In simulations it outlives the coordinator, and stands for a disk.
class MemoryJournal final : public Journal {
 public:
  /// `keep`: recover() gives back what was written.
  explicit MemoryJournal(bool keep = false) : keep_(keep) {}

  [[nodiscard]] Recovery recover() override;
  void write(JournalEntry entry) override;
  [[nodiscard]] std::optional<JournalReport> next() override;
  [[nodiscard]] bool durable() const override { return keep_; }
  [[nodiscard]] std::string describe() const override {
    return "memory: requests are lost if the coordinator stops";
  }

 private:
  void keep(const JournalRequest& entry);
  void keep(const JournalSamples& entry);
  void keep(const JournalOutcome& entry);
  void keep(const JournalErase& entry);

  const bool keep_;
  std::map<RequestId, std::uint64_t> order_;
  std::map<std::uint64_t, RecoveredRequest> requests_;
  std::vector<RequestId> ended_;
  std::uint64_t written_ = 0;
  std::deque<JournalReport> reports_;
};

}  // namespace pa
