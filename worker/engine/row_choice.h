#pragma once

#include <cstdint>

namespace pa {

/// A network row that waits for a pass.
struct WaitingRow {
  std::int64_t group = 0;  ///< Rows of equal groups fit together: same model, same shapes.
  std::int64_t max_rows =
      0;               ///< Of a pass with this row in it, at most; 0: as many as the device takes.
  bool alone = false;  ///< In a pass of its own (deterministic).
};

/// Chooses the rows of the next pass: offer the waiting ones, oldest first, until full().
///
/// The first one offered is taken, and says what fits; so nothing waits behind rows that came after
/// it. Pure: equal offers give equal choices.
class RowChoice {
 public:
  explicit RowChoice(std::int64_t max_rows) : limit_(max_rows) {}

  /// Whether the row is in the pass.
  [[nodiscard]] bool offer(const WaitingRow& row) {
    if (full()) return false;
    const std::int64_t limit = row.alone                                   ? 1
                               : row.max_rows > 0 && row.max_rows < limit_ ? row.max_rows
                                                                           : limit_;
    if (count_ > 0 && (row.group != group_ || count_ + 1 > limit)) return false;
    group_ = row.group;
    limit_ = limit;
    ++count_;
    return true;
  }

  [[nodiscard]] bool full() const { return count_ > 0 && count_ >= limit_; }
  [[nodiscard]] std::int64_t count() const { return count_; }

 private:
  std::int64_t limit_;
  std::int64_t count_ = 0;
  std::int64_t group_ = 0;
};

}  // namespace pa
