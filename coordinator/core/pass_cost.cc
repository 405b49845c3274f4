#include "coordinator/core/pass_cost.h"

#include <algorithm>

namespace pa {
namespace {

constexpr double kRounding = 1e-9;  // Relative: what was computed from a pass's time must fit it.

}  // namespace

std::int64_t PassCost::rows_within(double seconds, std::int64_t limit) const {
  seconds *= 1 + kRounding;
  const std::int64_t tabled = std::min(std::ssize(table), limit);
  const auto end = std::upper_bound(table.begin(), table.begin() + tabled, seconds);
  const std::int64_t fit = end - table.begin();
  if (fit < tabled || tabled == limit) return fit;
  if ((*this)(limit) <= seconds) return limit;
  // Between the table and the limit; per_row > 0, or all of them would fit or none.
  const double beyond = (seconds - fixed) / per_row;
  return std::clamp(static_cast<std::int64_t>(beyond), fit, limit);
}

std::int64_t PassCost::best_rows(std::int64_t limit) const {
  if (limit <= std::ssize(table) || table.empty() || fixed < 0) {
    std::int64_t best = 0;
    double rate = 0;
    for (std::int64_t n = 1; n <= limit; ++n) {
      const double now = static_cast<double>(n) / (*this)(n);
      if (now > rate * (1 + kRounding)) {
        best = n;
        rate = now;
      }
    }
    return best;
  }
  // Beyond the table the rate only rises.
  const std::int64_t tabled = best_rows(std::ssize(table));
  const double rate = static_cast<double>(tabled) / (*this)(tabled);
  return static_cast<double>(limit) / (*this)(limit) > rate * (1 + kRounding) ? limit : tabled;
}

}  // namespace pa
