#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <span>
#include <vector>

namespace pa {

/// A request that has rows on a device, as far as sharing the device with others is concerned.
struct Claim {
  int priority = 0;                                           ///< Higher ones go first.
  double deadline = std::numeric_limits<double>::infinity();  ///< Among equals, earlier ones first.
  double finish = 0;         ///< See EvenShares; among equals, the earliest goes first.
  std::int64_t skipped = 0;  ///< Passes since one had a row of it.
};

/// A network row that waits for a pass.
struct DueRow {
  std::size_t claim = 0;      ///< Index of its request's Claim.
  std::int64_t group = 0;     ///< Rows of equal groups fit together: same weights, same shapes.
  std::int64_t max_rows = 0;  ///< Of a pass with it in, at most; 0: as many as the device takes.
  bool alone = false;         ///< In a pass of its own (deterministic).
};

/// When requests would end if they shared a device evenly, each getting as much work done as any other.
/// Going by that order, one after the other, none ends later than it would so, and most end earlier
/// (Friedman, Henderson 2003, "Fairness and efficiency in web server protocols"). Short ones pass long
/// ones, but long ones are passed only for as long as an even share would have taken.
class EvenShares {
 public:
  /// `work` was done while `requests` had some left, at least one.
  void advance(double work, std::size_t requests) {
    level_ += work / static_cast<double>(requests);
  }
  /// Where a request ends that gets `work` more to do. finish: where it ended so far; 0 if it is new.
  [[nodiscard]] double finish(double finish, double work) const {
    return std::max(finish, level_) + work;
  }

 private:
  double level_ = 0;  ///< Work done for each that was always there.
};

struct RowLimits {
  std::int64_t max_rows = 8;                    ///< In one pass, at most.
  std::map<std::int64_t, std::int64_t> memory;  ///< Rows that memory has room for, where known.
  std::int64_t max_passes_skipped = 32;  ///< Then a request goes first, whatever its priority.

  [[nodiscard]] std::int64_t rows_for(std::int64_t group) const;
};

/// Chooses the rows of the next network pass: indices into `due`, ascending.
///
/// The first request takes its first row, which says what fits: rows of its group. Further rows come
/// from the first request that has one that fits. Requests are in order of: skipped max_passes_skipped
/// times (most first; until it has a row), priority, deadline, finish, place in `claims`. Rows of one
/// request go in the order of `due`.
///
/// Pure. Empty only if `due` is. No request waits longer than max_passes_skipped + R - 1 passes while
/// R requests have rows: those skipped so often go one after the other, at least one a pass.
[[nodiscard]] std::vector<std::size_t> choose_rows(std::span<const Claim> claims,
                                                   std::span<const DueRow> due,
                                                   const RowLimits& limits);

}  // namespace pa
