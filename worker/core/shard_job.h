#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "shared/core/buffer.h"
#include "shared/core/id.h"
#include "shared/core/request.h"
#include "shared/core/tensor_spec.h"
#include "shared/wire/messages.h"

/// What passes between the worker's loop, which talks, and its engine, which computes.
namespace pa {

/// Samples to run, with everything they need.
struct ShardJob {
  ShardId shard;
  RequestId request;
  Request body;
  std::vector<std::int64_t> samples;  ///< Indices in the request's batch, ascending.
  /// As in Assign; checkpoint.SAMPLE (U8) is where a sample goes on, that left a worker before.
  std::vector<TensorSpec> tensors;
  Buffer inputs;  ///< The tensors, laid out by input_layout(tensors); or:
  /// The tensors, each in pieces that follow one another. Shared memory: not to be written to.
  std::vector<std::vector<Buffer>> pieces;
  TensorSpec result;  ///< As in Assign: [samples.size(), ...], F32.
};

/// Consecutive rows of a shard that ended in one pass, well or not.
struct RowsFinished {
  ShardId shard;
  std::int64_t first_row = 0;  ///< Row of the shard's result.
  Buffer bytes;  ///< The rows, contiguous, in the result's dtype; empty if they failed.
  std::vector<SampleReport>
      samples;  ///< One a row. Of its fields, worker, device and attempts are left alone.
};

/// Steps done so far, over all samples of a shard.
struct ShardMoved {
  ShardId shard;
  std::int64_t steps = 0;
  std::int64_t new_steps = 0;  ///< Of these, those since the last such report.
  double seconds = 0;          ///< Of the device, shared out by rows among those in a pass.
  std::vector<std::int64_t> sample_steps;  ///< [samples] Steps each has done.
};

/// A network pass ended.
struct PassDone {
  std::string model;
  std::int64_t rows = 0;
  double seconds = 0;          ///< Including a sim device's sleep.
  double network_seconds = 0;  ///< Inside Network::forward.
  Shape row;                   ///< Of x, without the row axis.
  bool fits = true;  ///< False: there was no memory for so many rows; nothing was computed.
  double switch_seconds = 0;  ///< Putting on other LoRAs before it; 0: the right ones were on.
};

/// A sample left its shard before its end, as it was asked to.
struct SampleLeft {
  ShardId shard;
  std::int64_t sample = 0;
  Buffer checkpoint;  ///< What goes on elsewhere (worker/engine/checkpoint.h); empty: not begun.
};

/// Where a sample stands that goes on here.
struct SampleSaved {
  ShardId shard;
  std::int64_t sample = 0;
  std::int64_t steps = 0;   ///< Done.
  double cost_seconds = 0;  ///< For which the device did nothing else.
  Buffer checkpoint;        ///< As in SampleLeft, never empty.
};

/// What a sample looks like so far.
struct PreviewMade {
  ShardId shard;
  std::int64_t sample = 0;
  std::int64_t step = 0;  ///< Steps done.
  std::int64_t width = 0;
  std::int64_t height = 0;
  std::vector<std::uint8_t> rgb;  ///< [height, width, 3].
};

/// The device answers no more, and will not before the process is started anew. The last report.
struct DeviceBroken {
  Error error;
};

using EngineReport = std::variant<RowsFinished, ShardMoved, PassDone, SampleLeft, SampleSaved,
                                  PreviewMade, DeviceBroken>;

}  // namespace pa
