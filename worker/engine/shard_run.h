#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "shared/core/result.h"
#include "shared/sampling/program.h"
#include "shared/sampling/sigma_table.h"
#include "worker/core/shard_job.h"
#include "worker/engine/conditions.h"
#include "worker/engine/row_choice.h"
#include "worker/models/device.h"
#include "worker/models/replica.h"

namespace pa {

/// A condition's side of classifier-free guidance. A plain evaluation is positive.
enum class Polarity : std::uint8_t { kPositive, kNegative };
inline constexpr std::size_t kPolarities = 2;

/// One row of a network pass, before it.
struct QueryRow {
  RowRef x;  ///< If `input_scale` is 1 what the network gets, else what is scaled for it.
  float input_scale = 1;
  float time = 0;  ///< What the network is told of sigma.
  const std::map<std::string, RowRef>* inputs = nullptr;
};

/// The samples of one shard, being made: each a trajectory through the request's program, or a single
/// evaluation (kForward). Asks for network rows and takes the answers; does not know of passes.
///
/// Thread: the compute thread only.
class ShardRun {
 public:
  /// Errors: kInvalid with the field of the request that cannot be run.
  [[nodiscard]] static Result<std::unique_ptr<ShardRun>> start(ShardJob job, Replica& replica,
                                                               const Device& device);

  [[nodiscard]] const ShardJob& job() const { return job_; }
  [[nodiscard]] Replica& replica() const { return *replica_; }
  [[nodiscard]] std::int64_t rows() const { return std::ssize(job_.samples); }
  /// All samples have ended, well or not.
  [[nodiscard]] bool finished() const { return ended_ == rows(); }

  /// Whether the row waits for an answer of this polarity.
  [[nodiscard]] bool waits(std::int64_t row, Polarity polarity) const;
  /// Rows of equal text fit into one pass.
  [[nodiscard]] std::string fit(std::int64_t row, Polarity polarity) const;
  /// The query of a waiting row.
  [[nodiscard]] QueryRow query(std::int64_t row, Polarity polarity);

  /// Takes the network's answer to a waiting row, on the device.
  void answer(std::int64_t row, Polarity polarity, const RowRef& answer);
  /// Counts device time of a row that was in a pass.
  void spend(std::int64_t row, double seconds);
  /// Ends a row without a result.
  void fail(std::int64_t row, const Error& error);

  /// Takes a sample out that has not begun; false if there is none such.
  [[nodiscard]] bool leave(std::int64_t sample);

  /// Rows that ended since the last call, as reports.
  void take_finished(std::vector<EngineReport>& out);
  /// How far the shard is, and how far it has come since the last call.
  [[nodiscard]] ShardMoved take_moved();

 private:
  struct Trajectory {
    std::size_t stage = 0;
    std::array<bool, kPolarities> waiting{};
    at::Tensor slots;     // [slots, ...] F32; undefined before its first query and after its end.
    at::Tensor negative;  // Answer [...] that waits for the positive one, or the other way round.
    RowRef result;        // Set when it ended well.
    std::int64_t steps = 0;
    double seconds = 0;
    bool ended = false;
    std::optional<Error> error;
  };

  ShardRun(ShardJob job, Replica& replica, Device device)
      : job_(std::move(job)), replica_(&replica), device_(std::move(device)) {}

  Status prepare_sample(const ShardTensors& tensors);
  Status prepare_forward(const ShardTensors& tensors);
  Status prepare_conditions(const ShardTensors& tensors);
  Status refuse_what_is_not_built() const;
  Result<at::Tensor> start_noise(const ShardTensors& tensors, const Shape& row) const;

  Trajectory& at(std::int64_t row) { return trajectories_[static_cast<std::size_t>(row)]; }
  const Trajectory& at(std::int64_t row) const {
    return trajectories_[static_cast<std::size_t>(row)];
  }
  const Stage& stage(const Trajectory& trajectory) const {
    return program_.stages[trajectory.stage];
  }
  void begin_stage(Trajectory& trajectory);
  void end_stage(Trajectory& trajectory);
  void end(Trajectory& trajectory, RowRef result);

  ShardJob job_;
  Replica* replica_;
  Device device_;
  bool forward_ = false;
  at::Tensor x_;     // [rows, ...] F32 on the device: where trajectories begin.
  at::Tensor time_;  // kForward: [rows] F32 on the CPU.
  SamplingInfo sampling_;
  std::optional<SigmaTable> table_;
  Program program_;
  bool guided_ = false;  // Both polarities are asked for.
  std::array<Conditioning, kPolarities> conditions_;
  std::vector<Trajectory> trajectories_;
  std::int64_t ended_ = 0;
  std::int64_t steps_ = 0;
  std::int64_t reported_steps_ = 0;
  double seconds_ = 0;
  std::vector<std::int64_t> fresh_;  // Rows that ended and are not reported yet.
};

/// Rows [first, first + samples.size()) of a shard as failed with `error`.
[[nodiscard]] RowsFinished failed_rows(const ShardJob& job, std::int64_t first, std::int64_t count,
                                       const Error& error);

}  // namespace pa
