#pragma once

#include <cstdint>
#include <span>

#include "shared/core/result.h"
#include "shared/io/segment.h"
#include "shared/wire/messages.h"
#include "worker/core/shard_job.h"

namespace pa {

/// Writes finished rows to their places in a request's result in shared memory, a part at a time, so
/// that a loop can do other things between.
class RowPlacement {
 public:
  /// `rows` are of `assign`, whose result is in `result`, and must stay. `map` is one of the result to
  /// write through, or empty.
  ///
  /// Errors: kInvalid, the shard does not have such rows.
  [[nodiscard]] static Result<RowPlacement> begin(const Assign& assign, const RowsFinished& rows,
                                                  Segment result, Buffer map);

  /// Writes up to `bytes` more; returns whether all is written.
  ///
  /// Errors: kInvalid, the rows leave the result, or nobody may write to it any more; kOverloaded.
  [[nodiscard]] Result<bool> place(std::uint64_t bytes);

 private:
  RowPlacement(const Assign& assign, const RowsFinished& rows, Segment result, Buffer map,
               std::uint64_t row)
      : samples_(assign.samples.begin() + rows.first_row,
                 assign.samples.begin() + rows.first_row + std::ssize(rows.samples)),
        bytes_(rows.bytes),
        result_(std::move(result)),
        map_(std::move(map)),
        row_(row) {}

  [[nodiscard]] Status write(std::uint64_t offset, std::span<const std::byte> source) const;

  std::vector<std::int64_t> samples_;  // Of each row, its place in the result.
  Buffer bytes_;
  Segment result_;
  Buffer map_;
  std::uint64_t row_;  // Bytes.
  std::uint64_t done_ = 0;
};

}  // namespace pa
