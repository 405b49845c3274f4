#pragma once

#include <ATen/core/Tensor.h>

#include <span>
#include <string>
#include <utility>
#include <vector>

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

/// Performs all updates of a stage at once. slots [slots, ...].
void update_slots(const at::Tensor& slots, std::span<const Update> updates);

/// positive = guided(positive, negative, cfg).
void guide(const at::Tensor& positive, const at::Tensor& negative, float cfg);

/// Whether every value is a number. CPU tensors, contiguous.
[[nodiscard]] bool all_finite(const at::Tensor& row);

}  // namespace pa
