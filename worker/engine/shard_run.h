#pragma once

#include <ATen/core/Tensor.h>

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
#include "worker/engine/guidance.h"
#include "worker/engine/masks.h"
#include "worker/engine/noise_maker.h"
#include "worker/engine/shard_noise.h"
#include "worker/models/device.h"
#include "worker/models/replica.h"

namespace pa {

/// One row of a network pass, before it.
struct QueryRow {
  RowRef x;  ///< If `input_scale` is 1 what the network gets, else what is scaled for it.
  float input_scale = 1;
  float time = 0;   ///< What the network is told of sigma.
  float level = 0;  ///< Sigma.
  const std::map<std::string, RowRef>* inputs = nullptr;
};

/// The samples of one shard, being made: each a trajectory through the request's program, or a single
/// evaluation (kForward). Asks for network rows and takes the answers; does not know of passes.
///
/// At every stage a trajectory asks for one row a term, that is a condition that holds at its sigma.
///
/// Thread: the compute thread only.
class ShardRun {
 public:
  /// Samples with a tensor checkpoint.SAMPLE go on from there, the others begin.
  ///
  /// Errors: kInvalid with the field of the request that cannot be run, or the checkpoint.
  [[nodiscard]] static Result<std::unique_ptr<ShardRun>> start(ShardJob job, Replica& replica,
                                                               const Device& device,
                                                               NoiseMaker& maker);

  [[nodiscard]] const ShardJob& job() const { return job_; }
  [[nodiscard]] Replica& replica() const { return *replica_; }
  [[nodiscard]] std::int64_t rows() const { return std::ssize(job_.samples); }
  /// All samples have ended, well or not, or left.
  [[nodiscard]] bool finished() const { return ended_ == rows(); }

  /// Goes on with rows whose noise has been made.
  void resume();
  /// Whether a row can do nothing until its noise is made.
  [[nodiscard]] bool waits_for_noise() const { return rows_without_noise_ > 0; }

  [[nodiscard]] std::size_t terms() const { return terms_.size(); }
  /// Whether the row waits for an answer to this term.
  [[nodiscard]] bool waits(std::int64_t row, std::size_t term) const;
  /// Rows of equal text fit into one pass: the same weights, and inputs of the same shapes.
  [[nodiscard]] std::string fit(std::int64_t row, std::size_t term) const;
  /// Of one row that the network gets for this term.
  [[nodiscard]] Shape shape(std::size_t term) const;
  /// Elements of a row that the network gets for this term: what counts as work.
  [[nodiscard]] double row_work(std::size_t term) const;
  /// Of all evaluations that are to come.
  [[nodiscard]] double work_left() const;
  /// The query of a waiting row.
  [[nodiscard]] QueryRow query(std::int64_t row, std::size_t term);

  /// Takes the network's answer to a waiting row, on the device. finite: false if the answer is known
  /// to hold a value that is no number; on a CPU this finds out by itself.
  void answer(std::int64_t row, std::size_t term, const RowRef& answer, bool finite = true);
  /// After the last answer of a pass to this row: lets go of the network's tensors.
  void keep_answers(std::int64_t row);
  /// Counts device time of a row that was in a pass.
  void spend(std::int64_t row, double seconds);
  /// Ends a row without a result.
  void fail(std::int64_t row, const Error& error);
  /// Lets a sample leave at its next step, unless it ends before. Unknown ones are ignored.
  void leave(std::int64_t sample);

  /// Writes down where a sample stands, now or after its next step; not of one that has not begun.
  /// Unknown ones are ignored.
  void save(std::int64_t sample);

  /// Ends all rows, and reports none of them.
  void drop();

  /// Rows that ended or left since the last call, and previews, as reports.
  void take_finished(std::vector<EngineReport>& out);
  /// How far the shard is, and how far it has come since the last call.
  [[nodiscard]] ShardMoved take_moved();

 private:
  struct Answer {
    at::Tensor row;         ///< Undefined: none yet.
    bool denoised = false;  ///< Else as the network answered.
  };

  struct Trajectory {
    std::size_t stage = 0;
    std::vector<bool> waiting;  ///< By term.
    std::size_t answers_due = 0;
    at::Tensor
        slots;  ///< [slots, ...] of this row; undefined before its first query and after its end.
    at::Tensor x;  ///< [...] what this stage evaluates; undefined before its first query.
    std::vector<Answer> answers;  ///< By term, while others are due.
    RowRef result;                ///< Set when it ended well.
    std::int64_t steps = 0;
    double seconds = 0;
    bool begun = false;
    bool lacks_noise = false;  ///< To begin, or to end its stage.
    bool leaving = false;
    bool saving = false;
    bool ended = false;
    std::optional<Error> error;
  };

  ShardRun(ShardJob job, Replica& replica, Device device)
      : job_(std::move(job)), replica_(&replica), device_(std::move(device)) {}

  // What the request says, before the first pass: shard_start.cc
  Status prepare_forward(const ShardTensors& tensors);
  Status prepare_sample(const ShardTensors& tensors, NoiseMaker& maker);
  Status prepare_inpaint(const ShardTensors& tensors);
  Status prepare_terms(const ShardTensors& tensors);
  Status add_terms(const ShardTensors& tensors, const std::vector<Condition>& conditions,
                   Polarity polarity);
  Status add_labels(const std::vector<std::string>& labels, Polarity polarity);
  Status restore(const ShardTensors& tensors);
  void begin(std::int64_t row);

  Trajectory& at(std::int64_t row) { return trajectories_[static_cast<std::size_t>(row)]; }
  const Trajectory& at(std::int64_t row) const {
    return trajectories_[static_cast<std::size_t>(row)];
  }
  const Stage& stage(const Trajectory& trajectory) const {
    return program_.stages[trajectory.stage];
  }
  /// Of one row: [...].
  [[nodiscard]] Shape row_shape() const {
    return {job_.result.shape.begin() + 1, job_.result.shape.end()};
  }
  [[nodiscard]] at::Tensor slot(const Trajectory& trajectory, int index) const {
    return trajectory.slots.select(0, index);
  }
  [[nodiscard]] at::Tensor seen(std::int64_t row, std::size_t term);
  [[nodiscard]] bool at_boundary(const Trajectory& trajectory) const;
  [[nodiscard]] at::Tensor slots_of(std::int64_t row) const { return all_slots_.select(1, row); }
  void begin_stage(std::int64_t row);
  void settle(std::int64_t row);
  [[nodiscard]] bool denoise(std::int64_t row, std::size_t term);
  [[nodiscard]] const at::Tensor* plain_answer(const Trajectory& trajectory,
                                               Polarity polarity) const;
  [[nodiscard]] bool previews_after(const Trajectory& trajectory) const;
  [[nodiscard]] bool ends_step(const Trajectory& trajectory) const;
  [[nodiscard]] bool take_all_at_once(std::int64_t row);
  void take_answers(std::int64_t row);
  [[nodiscard]] bool finish_stage(std::int64_t row);
  void end_stage(std::int64_t row);
  void next_stage(std::int64_t row);
  void make_preview(std::int64_t row);
  void make_result(std::int64_t row);
  void end(std::int64_t row, RowRef result);
  void close(std::int64_t row);
  void depart(std::int64_t row);
  void save_row(std::int64_t row);
  [[nodiscard]] Buffer written_down(std::int64_t row) const;
  [[nodiscard]] Error not_finite(const Trajectory& trajectory) const;

  ShardJob job_;
  Replica* replica_;
  Device device_;
  bool forward_ = false;
  at::Tensor x_;     // kForward: [rows, ...] F32 on the device.
  at::Tensor time_;  // kForward: [rows] F32 on the CPU.
  SamplingInfo sampling_;
  std::optional<SigmaTable> table_;
  Program program_;
  std::vector<std::vector<bool>> kept_;  // kept_slots() of it.
  at::Tensor all_slots_;  // [slots, rows, ...] F32 on the device; a trajectory begins in slot 0.
  std::vector<at::Tensor> slots_;  // The same by slot: [rows, ...].
  at::Tensor latent_;              // [1 or rows, ...] F32 on the CPU, or undefined.
  float first_sigma_ = 0;
  std::optional<ShardNoise> noise_;
  std::int64_t rows_without_noise_ = 0;
  bool guided_ = false;  // Both polarities are asked for.
  std::vector<ConditionTerm> terms_;
  Inpaint inpaint_;
  at::Tensor inpaint_noise_;     // [rows, ...] F32 on the device, set as rows begin; or undefined.
  bool inpaints_fresh_ = false;  // That noise is a draw of its own, not the start noise.
  std::vector<Trajectory> trajectories_;
  std::int64_t ended_ = 0;
  std::int64_t steps_ = 0;
  std::int64_t reported_steps_ = 0;
  double seconds_ = 0;
  std::vector<std::int64_t> fresh_;  // Rows that ended and are not reported yet.
  std::vector<EngineReport>
      departed_;  // Of those that left, states and previews, not reported yet.
};

/// Rows [first, first + samples.size()) of a shard as failed with `error`.
[[nodiscard]] RowsFinished failed_rows(const ShardJob& job, std::int64_t first, std::int64_t count,
                                       const Error& error);

}  // namespace pa
