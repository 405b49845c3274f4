#pragma once

#include <ATen/core/Tensor.h>

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "shared/sampling/network_scales.h"
#include "shared/sampling/program.h"

/// Linear combinations of whole rows: float32 tensors of one shape on one device, contiguous.
/// On a CPU by linear_combine.h; elsewhere by LibTorch's operators, until a kernel of ours is there.
namespace pa {

struct WeightedRow {
  float weight = 0;
  at::Tensor row;
};

/// out = the sum of the terms, in their order. `out` may be one of them.
///
/// Returns false if a value of it is no number; true without looking on devices other than a CPU.
bool combine(const at::Tensor& out, std::span<const WeightedRow> terms);

/// Performs all updates of a stage at once. slots [slots, ...], each contiguous.
void update_slots(const at::Tensor& slots, std::span<const Update> updates);

/// A stage of one row, from the network's answers to the slots after it.
struct StageRow {
  const Stage* stage = nullptr;
  at::Tensor slots;                                ///< [slots, ...], each contiguous.
  NetworkScales scales;                            ///< What answers mean for slot stage->input.
  at::Tensor positive;                             ///< [...] as the network answered.
  at::Tensor negative;                             ///< Undefined: no guidance.
  float cfg = 1;                                   ///< Of guided().
  std::vector<std::pair<int, at::Tensor>> noises;  ///< What stage->draws put into slots.
  const std::vector<bool>* kept = nullptr;  ///< [slots] whether the value after the stage is read.
};

/// Denoises, guides and updates in one go over memory. Slots that are not kept are left as they are.
/// The same bits as combine(), guide() and update_slots(), one after the other.
///
/// Returns false if a denoised value is no number, true without looking on devices other than a CPU;
/// then slots hold anything.
bool run_stage(const StageRow& row);

/// to = scale * from; with scale 1 bit for bit.
void copy_scaled(const at::Tensor& to, const at::Tensor& from, float scale);

/// positive = guided(positive, negative, cfg).
void guide(const at::Tensor& positive, const at::Tensor& negative, float cfg);

/// Whether every value is a number. CPU tensors, contiguous.
[[nodiscard]] bool all_finite(const at::Tensor& row);

}  // namespace pa
