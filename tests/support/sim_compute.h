#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "shared/core/time.h"
#include "worker/io/compute_link.h"

namespace pa {

/// A simulated device: a pass over n rows takes `fixed + n * per_row`; results can be told from one another.
///
/// A `forward` row is returned as it came. A `sample` row is filled with sample_mark(request, sample).
class SimCompute : public ComputeLink {
 public:
  struct Speed {
    Duration fixed = std::chrono::milliseconds{5};
    Duration per_row = std::chrono::milliseconds{10};
    std::int64_t max_rows = 8;
  };

  explicit SimCompute(Speed speed) : speed_(speed) {}

  void run(ShardJob job) override;
  void cancel(ShardId shard) override;
  [[nodiscard]] std::optional<EngineReport> poll() override;
  [[nodiscard]] std::int64_t free_memory_bytes() const override { return -1; }

  /// Ends passes that are over at `now`, and begins the next.
  void advance_to(TimePoint now);
  /// When the running pass ends; nullopt if idle.
  [[nodiscard]] std::optional<TimePoint> next_event() const { return pass_ends_; }

 private:
  struct Shard {
    ShardJob job;
    std::vector<std::int64_t> steps_left;  ///< [rows]
    std::int64_t steps = 0;
    double seconds = 0;
  };

  void begin_pass();
  void end_pass();
  [[nodiscard]] RowsFinished finish(Shard& shard, std::int64_t row) const;

  Speed speed_;
  TimePoint now_;
  std::deque<Shard> shards_;
  std::vector<std::pair<ShardId, std::int64_t>> pass_;  ///< Rows of the running pass.
  std::optional<TimePoint> pass_ends_;
  std::deque<EngineReport> reports_;
};

/// What SimCompute fills the row of a sample with.
[[nodiscard]] float sample_mark(const RequestId& request, std::int64_t sample);

}  // namespace pa
