#include "coordinator/journal/memory_journal.h"

#include <cstring>

namespace pa {

Recovery MemoryJournal::recover() {
  Recovery recovery;
  reports_.clear();
  for (const auto& [order, request] : requests_) recovery.requests.push_back(request);
  recovery.ended = ended_;
  return recovery;
}

void MemoryJournal::write(JournalEntry entry) {
  if (auto report = report_of(entry)) reports_.push_back(std::move(*report));
  if (keep_) std::visit([this](const auto& specific) { keep(specific); }, entry);
}

std::optional<JournalReport> MemoryJournal::next() {
  if (reports_.empty()) return std::nullopt;
  JournalReport report = std::move(reports_.front());
  reports_.pop_front();
  return report;
}

void MemoryJournal::keep(const JournalRequest& entry) {
  order_[entry.submit.request] = ++written_;
  requests_[written_].request = entry;
}

void MemoryJournal::keep(const JournalSamples& entry) {
  RecoveredRequest& kept = requests_.at(order_.at(entry.request));
  if (kept.result.empty() && !entry.result.empty()) {
    kept.result = {std::shared_ptr<std::byte>(new std::byte[entry.result.size()](),
                                              std::default_delete<std::byte[]>()),
                   entry.result.size()};
  }
  for (const SampleReport& report : entry.reports) {
    kept.samples.push_back(report);
    if (report.failed || entry.row_bytes == 0) continue;
    const std::uint64_t offset = static_cast<std::uint64_t>(report.sample) * entry.row_bytes;
    std::memcpy(kept.result.data() + offset, entry.result.data() + offset, entry.row_bytes);
  }
}

void MemoryJournal::keep(const JournalOutcome& entry) {
  requests_.at(order_.at(entry.done.request)).outcome = entry.done;
}

void MemoryJournal::keep(const JournalErase& entry) {
  const auto found = order_.find(entry.request);
  if (found == order_.end()) return;
  requests_.erase(found->second);
  order_.erase(found);
  ended_.push_back(entry.request);
}

}  // namespace pa
