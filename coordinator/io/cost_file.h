#pragma once

#include <cstdint>
#include <string>

#include "coordinator/core/cost_model.h"
#include "shared/core/time.h"

namespace pa {

/// What devices were found to cost, in a file, so that a restart is not a cold start.
///
/// Thread: the loop only. The file is small (a line a device, kind of pass and row count) and is written at most every
/// half minute, beside its place and then renamed, so that it is always whole.
class CostFile {
 public:
  /// `path` empty: nothing is kept.
  explicit CostFile(std::string path) : path_(std::move(path)) {}

  /// What was kept; empty if there is none. A file that cannot be read is told of and left alone until it is replaced.
  [[nodiscard]] std::string load() const;

  /// Writes what is new in `costs`, if it is time. Failure is logged once.
  void keep(const CostModel& costs, TimePoint now);
  /// Writes it now.
  void flush(const CostModel& costs);

 private:
  std::string path_;
  std::uint64_t version_ = 0;  ///< Of what is in the file.
  TimePoint next_;
  bool failed_ = false;
};

}  // namespace pa
