#include "coordinator/journal/journal.h"

namespace pa {

std::optional<JournalReport> report_of(const JournalEntry& entry) {
  if (const auto* request = std::get_if<JournalRequest>(&entry)) {
    return JournalReport{request->submit.request, JournalReport::What::kRequest, {}};
  }
  if (const auto* samples = std::get_if<JournalSamples>(&entry)) {
    return JournalReport{samples->request, JournalReport::What::kSamples, {}};
  }
  if (const auto* outcome = std::get_if<JournalOutcome>(&entry)) {
    return JournalReport{outcome->done.request, JournalReport::What::kOutcome, {}};
  }
  return std::nullopt;
}

}  // namespace pa
