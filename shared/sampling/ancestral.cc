#include <cmath>

#include "shared/sampling/catalogue.h"
#include "shared/sampling/step_math.h"

namespace pa {

Expr euler_ancestral(const Run& run, Expr x) {
  const double eta = run.options.number("eta");
  const double s_noise = run.options.number("s_noise");
  for (std::size_t i = 0; i < run.steps(); ++i) {
    const double a = run.sigmas[i];
    const double b = run.sigmas[i + 1];
    const Expr denoised = run.trace.denoise(x, a, static_cast<int>(i));
    const AncestralSplit split = ancestral_split(run.prediction, a, b, eta);
    if (split.down == 0.0) {
      x = denoised;
      continue;
    }
    x = split.scale * move(x, denoised, split.down / a);
    if (eta > 0.0) x += split.up * s_noise * run.trace.noise(a, b);
  }
  return x;
}

Expr dpm_2_ancestral(const Run& run, Expr x) {
  const double eta = run.options.number("eta");
  const double s_noise = run.options.number("s_noise");
  for (std::size_t i = 0; i < run.steps(); ++i) {
    const double a = run.sigmas[i];
    const double b = run.sigmas[i + 1];
    const Expr denoised = run.trace.denoise(x, a, static_cast<int>(i));
    const AncestralSplit split = ancestral_split(run.prediction, a, b, eta);
    if (split.down == 0.0) {
      x = denoised;
      continue;
    }
    const double middle = std::sqrt(a * split.down);
    Expr halfway = move(x, denoised, middle / a);
    const Expr denoised_halfway = run.trace.denoise(halfway, middle);
    x = split.scale * (x + (split.down - a) / middle * (halfway - denoised_halfway));
    if (eta > 0.0) x += split.up * s_noise * run.trace.noise(a, b);
  }
  return x;
}

Expr dpmpp_2s_ancestral(const Run& run, Expr x) {
  const double eta = run.options.number("eta");
  const double s_noise = run.options.number("s_noise");
  const Prediction& prediction = run.prediction;
  for (std::size_t i = 0; i < run.steps(); ++i) {
    const double a = run.sigmas[i];
    const double b = run.sigmas[i + 1];
    const Expr denoised = run.trace.denoise(x, a, static_cast<int>(i));
    const AncestralSplit split = ancestral_split(prediction, a, b, eta);
    if (split.down == 0.0) {
      x = denoised;
    } else {
      const double middle =
          prediction.flow() && a == 1.0  // Where lambda is infinite ComfyUI takes this one.
              ? 0.9999
              : prediction.sigma_at((prediction.lambda(a) + prediction.lambda(split.down)) / 2.0);
      const Expr denoised_halfway = run.trace.denoise(move(x, denoised, middle / a), middle);
      x = move(x, denoised_halfway, split.down / a);
    }
    if (b > 0.0 && eta > 0.0) {
      x = split.scale * x + split.up * s_noise * run.trace.noise(a, b);
    }
  }
  return x;
}

}  // namespace pa
