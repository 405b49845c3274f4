#include "coordinator/core/job.h"

#include <algorithm>

namespace pa {

bool Shard::is_pending(std::int64_t sample) const {
  return std::any_of(pending.begin(), pending.end(), [&](const SamplesDone& message) {
    return std::any_of(message.samples.begin(), message.samples.end(),
                       [&](const SampleReport& report) { return report.sample == sample; });
  });
}

std::vector<Range> rows_of(const std::vector<std::int64_t>& samples, std::uint64_t row_bytes) {
  std::vector<Range> rows;
  for (const std::int64_t sample : samples) {
    const std::uint64_t at = static_cast<std::uint64_t>(sample) * row_bytes;
    if (!rows.empty() && rows.back().offset + rows.back().bytes == at) {
      rows.back().bytes += row_bytes;
    } else {
      rows.push_back({at, row_bytes});
    }
  }
  return rows;
}

bool same_weights(const Job& a, const Job& b) {
  return a.request.model == b.request.model && a.loras == b.loras;
}

bool share_passes(const Job& a, const Job& b) {
  return a.kind == b.kind && a.loras == b.loras && a.identity == b.identity &&
         a.pinned == b.pinned && a.admitted.rows_per_sample == b.admitted.rows_per_sample &&
         a.request.workers == b.request.workers;
}

}  // namespace pa
