#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "shared/core/id.h"
#include "shared/core/model_info.h"
#include "worker/core/shard_job.h"

namespace pa {

/// The loop's end of the device: work in, reports out. A thread with an engine behind it, or a simulated device.
///
/// Thread: the loop's only. Nothing blocks.
class ComputeLink {
 public:
  virtual ~ComputeLink() = default;

  virtual void run(ShardJob job) = 0;
  /// Nothing more of the shard is wanted; reports already made may still come. Unknown ids are ignored.
  virtual void cancel(ShardId shard) = 0;
  /// Lets a sample leave its shard at its next step, unless it ends before. Unknown ones are ignored.
  virtual void leave(ShardId shard, std::int64_t sample) = 0;
  /// Says where a sample stands after its next step, unless it ends before. Unknown ones are ignored.
  virtual void save(ShardId shard, std::int64_t sample) = 0;
  /// Reads the model's files ahead, if there is memory for them. Unknown names are ignored.
  virtual void prefetch(const std::string& model) { (void)model; }
  /// The next report, or nullopt.
  [[nodiscard]] virtual std::optional<EngineReport> poll() = 0;
  /// Device memory free, in bytes; -1 unknown.
  [[nodiscard]] virtual std::int64_t free_memory_bytes() const = 0;
  /// Files are being read onto the device, however long that takes: no pass runs.
  [[nodiscard]] virtual bool is_loading() const { return false; }
  /// A pass runs, be it for shards that were cancelled.
  [[nodiscard]] virtual bool is_computing() const { return false; }
  /// The models in the device's memory; empty: it does not say.
  [[nodiscard]] virtual std::vector<LoadedModel> loaded() const { return {}; }
};

}  // namespace pa
