#pragma once

#include <string>

namespace pa {

/// How a network is used for a prediction type at one noise level: it is given input * x, and its
/// answer means that the denoised row is x_weight * x + answer_weight * answer.
struct NetworkScales {
  float input = 1;
  float x_weight = 1;
  float answer_weight = 0;
};

/// prediction: "flow" (CONST), "eps", "v" or "edm". Formulas of ComfyUI's model_sampling.py, where
/// the deviation of the data is 1, and 0.5 for "edm". In float32, as it computes them.
[[nodiscard]] NetworkScales network_scales(const std::string& prediction, float sigma);

}  // namespace pa
