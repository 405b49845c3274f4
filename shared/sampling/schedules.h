#pragma once

#include <string>
#include <vector>

#include "shared/core/request.h"
#include "shared/core/result.h"
#include "shared/sampling/sigma_table.h"

namespace pa {

/// Names that schedule() knows.
[[nodiscard]] const std::vector<std::string>& schedule_names();

/// Sigmas of a named schedule, falling, the last one 0. As ComfyUI's samplers.py computes them with
/// torch in float32; see docs/numerics.md for the formulas.
///
/// spec.steps + 1 of them, or fewer: "beta" drops doubles, and "ddim_uniform" has its own count.
/// With spec.denoise < 1 the schedule is made for floor(steps / denoise) steps, of which the last
/// ones run. `discard_penultimate`: one more step is computed, and the last sigma but one dropped.
///
/// Errors: kInvalid with the field, one of /schedule/name (unknown; names the nearest and lists
/// all), /schedule/steps (less than 1, more than 10000, or more than the model's table can tell
/// apart), /schedule/denoise (not in (0, 1]).
[[nodiscard]] Result<std::vector<float>> schedule(const ScheduleSpec& spec, const SigmaTable& table,
                                                  bool discard_penultimate);

}  // namespace pa
