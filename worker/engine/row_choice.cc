#include "worker/engine/row_choice.h"

#include <algorithm>
#include <tuple>

namespace pa {
namespace {

/// A claim while a pass is put together.
struct Standing {
  const Claim* claim = nullptr;
  std::vector<std::size_t> rows;  // Of it, into `due`.
  std::size_t next = 0;           // First row not yet taken or passed over.
  bool starved = false;
};

/// Whether a goes before b, both having rows.
bool goes_first(const Standing& a, const Standing& b) {
  if (a.starved != b.starved) return a.starved;
  if (a.starved && a.claim->skipped != b.claim->skipped) {
    return a.claim->skipped > b.claim->skipped;
  }
  return std::tuple(-a.claim->priority, a.claim->deadline, a.claim->finish) <
         std::tuple(-b.claim->priority, b.claim->deadline, b.claim->finish);
}

/// The first of those that have rows left; nullptr if none has.
Standing* first_of(std::vector<Standing>& standings) {
  Standing* first = nullptr;
  for (Standing& candidate : standings) {
    if (candidate.next == candidate.rows.size()) continue;
    if (first == nullptr || goes_first(candidate, *first)) first = &candidate;
  }
  return first;
}

}  // namespace

std::int64_t RowLimits::rows_for(std::int64_t group) const {
  const auto known = memory.find(group);
  return std::max<std::int64_t>(
      1, known == memory.end() ? max_rows : std::min(max_rows, known->second));
}

std::vector<std::size_t> choose_rows(std::span<const Claim> claims, std::span<const DueRow> due,
                                     const RowLimits& limits) {
  std::vector<Standing> standings(claims.size());
  for (std::size_t k = 0; k < claims.size(); ++k) {
    standings[k].claim = &claims[k];
    standings[k].starved = claims[k].skipped >= limits.max_passes_skipped;
  }
  for (std::size_t i = 0; i < due.size(); ++i) standings[due[i].claim].rows.push_back(i);

  std::vector<std::size_t> chosen;
  std::int64_t limit = 0;
  while (Standing* const first = first_of(standings)) {
    const std::size_t index = first->rows[first->next++];
    const DueRow& row = due[index];
    const bool leads = chosen.empty();
    std::int64_t allowed = row.alone ? 1 : leads ? limits.rows_for(row.group) : limit;
    if (row.max_rows > 0) allowed = std::min(allowed, row.max_rows);
    const auto count = std::ssize(chosen) + 1;
    if (!leads && (row.group != due[chosen.front()].group || count > allowed)) continue;
    chosen.push_back(index);
    limit = allowed;
    first->starved = false;
    if (count >= limit) break;
  }
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

}  // namespace pa
