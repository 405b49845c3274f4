#pragma once

#include <cstdint>
#include <span>

namespace pa {

/// What a network pass over n rows costs a device, in seconds: table[n - 1] as far as the table reaches, and
/// fixed + per_row * n beyond. Never falls with n.
struct PassCost {
  double fixed = 0;
  double per_row = 0;
  std::span<const double> table;  ///< Not owned; must outlive this.

  /// n >= 1.
  [[nodiscard]] double operator()(std::int64_t n) const {
    return n <= std::ssize(table) ? table[static_cast<std::size_t>(n - 1)]
                                  : fixed + per_row * static_cast<double>(n);
  }
  /// The most rows, `limit` at most, whose pass takes no longer than `seconds`; 0 if there are none.
  [[nodiscard]] std::int64_t rows_within(double seconds, std::int64_t limit) const;
  /// The smallest n up to `limit` for which n rows a pass are done fastest; 0 if limit is 0.
  [[nodiscard]] std::int64_t best_rows(std::int64_t limit) const;
};

}  // namespace pa
