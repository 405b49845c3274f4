#pragma once

#include <vector>

#include "shared/io/yaml.h"

namespace pa {

/// A distribution of single values, the same for every element of a latent: Gaussians of these
/// weights, centres and variances. Weights need not add up to 1.
struct AnalyticDenoiser {
  std::vector<double> weights;
  std::vector<double> centres;
  std::vector<double> variances;
};

/// Reads `denoiser: {kind: gauss, var: 0.25}` or `{kind: mix, weights: [...], centres: [...],
/// vars: [...]}`; mistakes are noted in its file.
[[nodiscard]] AnalyticDenoiser read_analytic_denoiser(YamlMap denoiser);

}  // namespace pa
