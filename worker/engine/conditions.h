#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <string>
#include <vector>

#include "shared/core/result.h"
#include "worker/core/shard_job.h"
#include "worker/models/replica.h"

namespace pa {

/// Rows of a tensor that somebody wants: rows [first, first + 1) of `base`, whose axis 0 has one row
/// for all, or one a sample.
struct RowRef {
  at::Tensor base;
  std::int64_t first = 0;
};

/// Whether these are rows of one tensor, one after the other. rows: at least one.
[[nodiscard]] bool are_consecutive(const std::vector<RowRef>& rows);

/// One tensor [rows.size(), ...] of these rows. Without a copy if they are consecutive rows of one
/// tensor, or the same row again and again (then it is not contiguous).
[[nodiscard]] at::Tensor gather(const std::vector<RowRef>& rows);

/// The tensors of a shard as LibTorch sees them: on the CPU, in the job's memory.
class ShardTensors {
 public:
  /// kInvalid if the tensors do not fit into job.inputs, or their pieces do not make them up;
  /// kOverloaded if there is no memory to join pieces.
  [[nodiscard]] static Result<ShardTensors> of(const ShardJob& job);

  /// Undefined if there is none.
  [[nodiscard]] at::Tensor find(const std::string& name) const;
  [[nodiscard]] const std::map<std::string, at::Tensor>& all() const { return tensors_; }

 private:
  std::map<std::string, at::Tensor> tensors_;
};

/// What a network is told beside x and sigma, for each sample of a shard.
class Conditioning {
 public:
  /// The tensors PREFIX.NAME (one row for all, or one a sample) or PREFIX.NAME.I (for the sample
  /// with index I in the request's batch), on the device, F32.
  ///
  /// Errors: kInvalid at `field` for an input that the model does not have, and for one that is
  /// required and missing; at /tensors/NAME for a wrong shape or dtype, with what was expected.
  [[nodiscard]] static Result<Conditioning> of_tensors(const Replica& replica, const ShardJob& job,
                                                       const ShardTensors& tensors,
                                                       const std::string& prefix,
                                                       const std::string& field,
                                                       c10::Device device);

  /// The conditions called labels[i] in the model's folder, for the shard's i-th sample.
  ///
  /// Errors: kInvalid at /labels for one that the model does not have.
  [[nodiscard]] static Result<Conditioning> of_labels(const Replica& replica,
                                                      const std::vector<std::string>& labels);

  /// By input name, for the shard's row-th sample.
  [[nodiscard]] const std::map<std::string, RowRef>& row(std::int64_t row) const {
    return rows_[static_cast<std::size_t>(row)];
  }

 private:
  std::vector<std::map<std::string, RowRef>> rows_;
};

}  // namespace pa
