#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "shared/core/id.h"
#include "worker/core/shard_job.h"

namespace pa {

class ModelStore;

/// Makes a pass take as long as on another device: sleeps until fixed + per_row * rows seconds have passed.
struct SimDevice {
  double fixed_seconds = 0;
  double per_row_seconds = 0;
  std::int64_t memory_rows = 0;  ///< A pass of more rows finds no memory; 0: any number fits.
};

struct EngineOptions {
  std::int64_t max_rows = 8;       ///< Rows in one network pass, at most.
  std::int64_t noise_threads = 1;  ///< That make noise ahead of the passes; at least 1.
  std::optional<SimDevice> sim;
};

/// Runs shards on the models of one device: keeps their samples as trajectories and takes rows that fit
/// together, across shards, samplers and steps, through one network pass at a time (choose_rows()).
///
/// A pass that finds no memory is run again with half its rows, which is remembered for its shape;
/// nothing is lost.
///
/// Thread: the compute thread only, construction and destruction included.
class Engine {
 public:
  Engine(ModelStore& models, EngineOptions options);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  /// Takes a shard. A shard that cannot run comes back from the next pass() as failed rows, with the reason.
  void add(ShardJob job);

  /// Drops what remains of a shard; nothing more is reported of it. Unknown ids are ignored.
  void cancel(ShardId shard);

  /// Lets a sample leave its shard at its next step: SampleLeft with a checkpoint comes from a pass();
  /// unless it ends before, and is reported as ever. Unknown ones are ignored.
  void leave(ShardId shard, std::int64_t sample);

  /// Writes down where a sample stands, now or after its next step: SampleSaved comes from a pass();
  /// unless it has not begun, or ends before. Unknown ones are ignored.
  void save(ShardId shard, std::int64_t sample);

  /// Nothing to do until the next add().
  [[nodiscard]] bool idle() const;

  /// Runs one network pass (milliseconds to seconds) and appends what came of it, in order. If rows
  /// wait for nothing but noise, waits for some first (up to tenths of a second).
  void pass(std::vector<EngineReport>& out);

  /// Waits until no row waits for noise, so that which rows the next pass takes does not depend on
  /// how fast noise is made. For tests and benchmarks.
  void settle(std::vector<EngineReport>& out);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pa
