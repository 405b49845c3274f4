#pragma once

#include "shared/core/model_info.h"

namespace pa {

/// How a network is used for a prediction type at one noise level: it is given input * x, and its
/// answer means that the denoised row is x_weight * x + answer_weight * answer.
struct NetworkScales {
  float input = 1;
  float x_weight = 1;
  float answer_weight = 0;
};

/// For the prediction and sigma_data of `sampling`. Formulas of ComfyUI's model_sampling.py, in float32
/// as it computes them.
[[nodiscard]] NetworkScales network_scales(const SamplingInfo& sampling, float sigma);

}  // namespace pa
