#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "shared/core/request.h"
#include "shared/core/result.h"
#include "shared/sampling/sigma_table.h"
#include "worker/engine/conditions.h"
#include "worker/engine/masks.h"

namespace pa {

/// A condition's side of classifier-free guidance. A plain evaluation is positive.
enum class Polarity : std::uint8_t { kPositive, kNegative };

/// A condition of a shard, ready to be evaluated and weighed.
struct ConditionTerm {
  Polarity polarity = Polarity::kPositive;
  Conditioning inputs;
  std::optional<Area> area;  ///< The part of the latent that the network sees.
  /// [1 or N, 1, height, width] F32 on the device, of the area or the whole latent: how much the
  /// answer counts at each pixel. Undefined: everywhere alike, by `strength`.
  at::Tensor weight;
  double strength = 1.0;
  /// It holds while last_sigma <= sigma <= first_sigma.
  float first_sigma = 0;
  float last_sigma = 0;

  [[nodiscard]] bool holds(float sigma) const {
    return sigma <= first_sigma && sigma >= last_sigma;
  }
};

/// ComfyUI's process_conds(): where a condition has an area, the other polarity gets one of the same
/// area, strength, mask and time range, with the tensors of the smallest condition there that covers
/// it; unless it has one of this area already, or no condition at all.
void add_opposites(std::vector<Condition>& positive, std::vector<Condition>& negative);

/// Where and how a condition of a request holds, into `term`; `inputs` and `polarity` are left alone.
///
/// masks: the shard's tensors; rows: of the shard; row: [C, H, W]. `field`: the condition's.
/// Errors: kInvalid at a field of the condition, or the mask's tensor.
[[nodiscard]] Status place_term(const Condition& condition, const ShardTensors& masks,
                                const SigmaTable& table, std::int64_t rows, const Shape& row,
                                const std::string& field, c10::Device device, ConditionTerm& term);

/// What the conditions of one polarity say together, [C, H, W]: the sum of weight * answer over the
/// sum of weights, as ComfyUI's calc_cond_batch(); zero where none holds.
///
/// answers: denoised rows of `terms`, in the same order; undefined ones do not take part.
[[nodiscard]] at::Tensor weigh(const std::vector<ConditionTerm>& terms,
                               std::span<const at::Tensor> answers, Polarity polarity,
                               std::int64_t row, const at::Tensor& like);

/// Whether the terms that hold at `sigma` are one of `polarity` that counts 1 everywhere: then its
/// answer is what weigh() would say, but for rounding.
[[nodiscard]] bool is_plain(const std::vector<ConditionTerm>& terms, Polarity polarity,
                            float sigma);

/// Pulls the spread of a guided row back to the positive answer's, by `amount` 0 to 1 (Lin et al.
/// 2023, arXiv 2305.08891, section 3.4). In velocity: (x / (sigma^2 + 1) - denoised)
/// sqrt(sigma^2 + 1) / sigma, as ComfyUI's RescaleCFG, and (x - denoised) / sigma on flows.
///
/// guided, positive, x: [C, H, W] F32; `guided` is overwritten. Sums run in float64, one by one, so
/// that the bits depend on this row alone.
void rescale(const at::Tensor& guided, const at::Tensor& positive, const at::Tensor& x, float sigma,
             bool flow, double amount);

}  // namespace pa
