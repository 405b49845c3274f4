#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>

namespace pa {

/// How many rows of a shape a device has memory for, as learned from passes that had none.
///
/// A failed pass halves the rows. After kPassesToGrow passes with as many as are known to fit, one
/// more is tried, since other programs come and go.
class RowMemory {
 public:
  static constexpr std::int64_t kPassesToGrow = 512;
  static constexpr std::size_t kMaxShapes = 1024;  ///< Remembered; more make it begin anew.

  /// Rows of this shape that may be tried; 0: no limit is known.
  [[nodiscard]] std::int64_t rows(const std::string& shape) const {
    const auto found = known_.find(shape);
    return found == known_.end() ? 0 : found->second.rows;
  }

  /// A pass of `rows` rows had no memory. rows >= 2.
  void failed(const std::string& shape, std::int64_t rows) {
    if (known_.size() >= kMaxShapes) known_.clear();
    known_[shape] = {std::max<std::int64_t>(rows / 2, 1), 0};
  }

  /// A pass of `rows` rows went well.
  void fitted(const std::string& shape, std::int64_t rows) {
    const auto found = known_.find(shape);
    if (found == known_.end() || rows < found->second.rows) return;
    if (++found->second.passes < kPassesToGrow) return;
    found->second = {found->second.rows + 1, 0};
  }

 private:
  struct Limit {
    std::int64_t rows = 0;
    std::int64_t passes = 0;  ///< With all of them, since the limit changed.
  };
  std::map<std::string, Limit> known_;
};

}  // namespace pa
