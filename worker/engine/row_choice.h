#pragma once

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
  double served = 0;         ///< Work done for it so far; among equals, least goes first.
  std::int64_t skipped = 0;  ///< Passes since one had a row of it.
};

/// A network row that waits for a pass.
struct DueRow {
  std::size_t claim = 0;      ///< Index of its request's Claim.
  std::int64_t group = 0;     ///< Rows of equal groups fit together: same weights, same shapes.
  std::int64_t max_rows = 0;  ///< Of a pass with it in, at most; 0: as many as the device takes.
  bool alone = false;         ///< In a pass of its own (deterministic).
  double work = 1;            ///< What it adds to Claim::served.
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
/// from the first request that has one that fits, each row counting as served. Requests are in order
/// of: skipped max_passes_skipped times (most first; until it has a row), priority, deadline, served,
/// place in `claims`. Rows of one request go in the order of `due`.
///
/// Pure. Empty only if `due` is. No request waits longer than max_passes_skipped + R - 1 passes while
/// R requests have rows: those skipped so often go one after the other, at least one a pass.
[[nodiscard]] std::vector<std::size_t> choose_rows(std::span<const Claim> claims,
                                                   std::span<const DueRow> due,
                                                   const RowLimits& limits);

}  // namespace pa
