#pragma once

#include <atomic>
#include <cstdint>
#include <stop_token>
#include <thread>
#include <vector>

#include "shared/models/weight_index.h"

namespace pa {

/// Brings mapped weights into the box's memory in the background, so that who loads them need not wait for the disk.
///
/// Thread: the loop's only. Nothing blocks but the destructor, for a few milliseconds.
class ReadAhead {
 public:
  ReadAhead() = default;
  ~ReadAhead();
  ReadAhead(const ReadAhead&) = delete;
  ReadAhead& operator=(const ReadAhead&) = delete;

  /// Begins to read, unless it still reads others, or these would take more than `most_bytes`. False: it does not.
  bool start(std::vector<StoredTensor> weights, std::int64_t most_bytes);
  [[nodiscard]] bool is_reading() const { return is_reading_; }

 private:
  std::atomic<bool> is_reading_ = false;
  std::jthread thread_;
};

}  // namespace pa
