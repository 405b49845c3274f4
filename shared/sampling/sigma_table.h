#pragma once

#include <span>
#include <vector>

#include "shared/core/model_info.h"
#include "shared/core/result.h"

namespace pa {

/// How a model maps its time to noise levels. Pure; float32 throughout, operation by operation as
/// ComfyUI's model_sampling.py computes it with torch, since the last bits reach the schedules.
class SigmaTable {
 public:
  /// Errors: kInvalid if info.type is not "flow", "flux", "discrete" or "continuous", info.prediction
  /// does not go with it ("flow" with the first two; "eps", "v" or "edm" with the others), or a number
  /// is out of its range; "/model_sampling" or a field of it.
  [[nodiscard]] static Result<SigmaTable> make(const SamplingInfo& info);

  /// Ascending, all positive: 1000 or ("flux") 10000 entries.
  [[nodiscard]] std::span<const float> sigmas() const { return sigmas_; }
  [[nodiscard]] float sigma_min() const { return sigmas_.front(); }
  [[nodiscard]] float sigma_max() const { return sigmas_.back(); }

  /// The noise level at a time, interpolated.
  [[nodiscard]] float sigma_of(float timestep) const;

  /// What the network is told: sigma * multiplier on flows (which does not undo the shift), the
  /// index nearest in ln sigma on discrete tables, ln(sigma) / 4 on continuous ones.
  [[nodiscard]] float timestep_of(float sigma) const;

  /// The noise level when `percent`, 0 to 1, of the schedule is over; 1e9 at 0 unless on flows.
  [[nodiscard]] double percent_to_sigma(double percent) const;

 private:
  explicit SigmaTable(const SamplingInfo& info) : info_(info) {}

  [[nodiscard]] bool is(const char* type) const { return info_.type == type; }

  SamplingInfo info_;
  std::vector<float> sigmas_;
  std::vector<float> log_sigmas_;  // "discrete" only.
};

}  // namespace pa
