#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "shared/core/buffer.h"
#include "shared/core/id.h"
#include "shared/core/request.h"
#include "shared/core/result.h"
#include "shared/core/tensor_spec.h"
#include "shared/core/time.h"
#include "shared/wire/messages.h"

namespace pa {

class ModelStore;

/// Samples to run, with everything they need.
struct ShardJob {
  ShardId shard;
  RequestId request;
  Request body;
  std::vector<std::int64_t> samples;  ///< Indices in the request's batch, ascending.
  std::vector<TensorSpec> tensors;    ///< As in Assign.
  Buffer inputs;                      ///< The tensors, laid out by input_layout(tensors).
  TensorSpec result;                  ///< As in Assign: [samples.size(), ...], F32.
};

/// Consecutive rows of a shard that ended in one pass, well or not.
struct RowsFinished {
  ShardId shard;
  std::int64_t first_row = 0;         ///< Row of the shard's result.
  Buffer bytes;                       ///< The rows, contiguous, in the result's dtype; empty if they failed.
  std::vector<SampleReport> samples;  ///< One a row. Of its fields, worker, device and attempts are left alone.
};

/// Steps done so far, over all samples of a shard.
struct ShardMoved {
  ShardId shard;
  std::int64_t steps = 0;
  double seconds = 0;  ///< Of the device, shared out by rows among those in a pass.
};

/// A network pass ended.
struct PassDone {
  std::string model;
  std::int64_t rows = 0;
  double seconds = 0;        ///< Including a sim device's sleep.
  double network_seconds = 0;  ///< Inside Network::forward.
};

using EngineReport = std::variant<RowsFinished, ShardMoved, PassDone>;

/// Makes a pass take as long as on another device: sleeps until fixed + per_row * rows seconds have passed.
struct SimDevice {
  double fixed_seconds = 0;
  double per_row_seconds = 0;
};

struct EngineOptions {
  std::int64_t max_rows = 8;     ///< Rows in one network pass, at most.
  std::optional<SimDevice> sim;
};

/// Runs shards on the models of one device: keeps their samples as trajectories and takes rows that fit together,
/// across shards, samplers and steps, through one network pass at a time.
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

  /// Nothing to do until the next add().
  [[nodiscard]] bool idle() const;

  /// Runs one network pass (milliseconds to seconds) and appends what came of it, in order.
  void pass(std::vector<EngineReport>& out);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pa
