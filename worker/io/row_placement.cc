#include "worker/io/row_placement.h"

#include <algorithm>
#include <cstring>

namespace pa {

Result<RowPlacement> RowPlacement::begin(const Assign& assign, const RowsFinished& rows,
                                         Segment result, Buffer map) {
  PA_ASSIGN(const std::uint64_t row, row_bytes(assign.result));
  const auto count = std::ssize(rows.samples);
  const bool fits = rows.first_row >= 0 && count <= std::ssize(assign.samples) - rows.first_row &&
                    rows.bytes.size() == row * static_cast<std::uint64_t>(count);
  if (!fits) return invalid("finished rows that the shard does not have");
  return RowPlacement(assign, rows, std::move(result), std::move(map), row);
}

Status RowPlacement::write(std::uint64_t offset, std::span<const std::byte> source) const {
  if (map_.empty()) return result_.write(offset, source);
  if (offset > map_.size() || source.size() > map_.size() - offset)
    return invalid("bytes beyond the end of shared memory");
  std::memcpy(map_.data() + offset, source.data(), source.size());
  return {};
}

Result<bool> RowPlacement::place(std::uint64_t bytes) {
  while (bytes > 0 && done_ < bytes_.size()) {
    // Rows that follow one another in the result, too, are written at once.
    const std::uint64_t first = done_ / row_;
    const std::uint64_t inside = done_ % row_;
    std::uint64_t run = row_ - inside;
    for (std::uint64_t next = first + 1;
         next < samples_.size() && run < bytes && samples_[next] == samples_[next - 1] + 1;
         ++next) {
      run += row_;
    }
    run = std::min(run, bytes);
    PA_TRY(write(static_cast<std::uint64_t>(samples_[first]) * row_ + inside,
                 bytes_.bytes().subspan(done_, run)));
    done_ += run;
    bytes -= run;
  }
  return done_ == bytes_.size();
}

}  // namespace pa
