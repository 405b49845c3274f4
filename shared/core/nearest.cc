#include "shared/core/nearest.h"

#include <algorithm>
#include <vector>

namespace pa {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

double substitution(char a, char b) {
  if (a == b) return 0.0;
  return lower(a) == lower(b) ? 0.5 : 1.0;
}

}  // namespace

double edit_distance(std::string_view a, std::string_view b) {
  std::vector<double> before(b.size() + 1);  // Row i - 2 of the table.
  std::vector<double> last(b.size() + 1);
  std::vector<double> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = static_cast<double>(j);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    before.swap(last);
    last.swap(row);
    row[0] = static_cast<double>(i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min(
          {last[j] + 1.0, row[j - 1] + 1.0, last[j - 1] + substitution(a[i - 1], b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before[j - 2] + 1.0);
    }
  }
  return row[b.size()];
}

std::string_view nearest(std::string_view name, std::span<const std::string> candidates) {
  std::string_view best;
  double best_distance = 0;
  for (const std::string& candidate : candidates) {
    const double distance = edit_distance(name, candidate);
    if (distance > 0.5 * static_cast<double>(std::max(name.size(), candidate.size()))) continue;
    if (best.empty() || distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

std::string suggestion(std::string_view name, std::span<const std::string> candidates,
                       std::size_t limit) {
  if (candidates.empty()) return "; there are none.";
  std::string text;
  const std::string_view near = nearest(name, candidates);
  if (near.empty()) {
    text = "; there are: ";
  } else {
    text.append("; did you mean '").append(near).append("'? There are: ");
  }
  const std::size_t shown = std::min(limit, candidates.size());
  for (std::size_t i = 0; i < shown; ++i) text.append(i == 0 ? "" : ", ").append(candidates[i]);
  if (shown < candidates.size())
    text.append(" and ").append(std::to_string(candidates.size() - shown)).append(" more");
  return text.append(".");
}

}  // namespace pa
