#pragma once

#include <cstdint>

#include "shared/core/result.h"
#include "shared/io/segment.h"
#include "shared/wire/messages.h"
#include "worker/core/shard_job.h"

namespace pa {

/// Writes finished rows to their places in a request's result in shared memory, a part at a time, so
/// that a loop can do other things between.
class RowPlacement {
 public:
  /// `rows` are of `assign`, whose result is in `result`, and must stay.
  ///
  /// Errors: kInvalid, the shard does not have such rows.
  [[nodiscard]] static Result<RowPlacement> begin(const Assign& assign, const RowsFinished& rows,
                                                  Segment result);

  /// Writes up to `bytes` more; returns whether all is written.
  ///
  /// Errors: kInvalid, the rows leave the result, or nobody may write to it any more; kOverloaded.
  [[nodiscard]] Result<bool> place(std::uint64_t bytes);

 private:
  RowPlacement(const Assign& assign, const RowsFinished& rows, Segment result, std::uint64_t row)
      : samples_(assign.samples.begin() + rows.first_row,
                 assign.samples.begin() + rows.first_row + std::ssize(rows.samples)),
        bytes_(rows.bytes),
        result_(std::move(result)),
        row_(row) {}

  std::vector<std::int64_t> samples_;  // Of each row, its place in the result.
  Buffer bytes_;
  Segment result_;
  std::uint64_t row_;  // Bytes.
  std::uint64_t done_ = 0;
};

}  // namespace pa
