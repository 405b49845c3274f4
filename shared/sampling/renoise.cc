#include <algorithm>
#include <cmath>

#include "shared/sampling/catalogue.h"

namespace pa {

// Ho et al. 2020 (arXiv 2006.11239): the posterior, in a process that keeps the variance at 1.
Expr ddpm(const Run& run, Expr x) {
  for (std::size_t i = 0; i < run.steps(); ++i) {
    const double a = run.sigmas[i];
    const double b = run.sigmas[i + 1];
    const Expr denoised = run.trace.denoise(x, a, static_cast<int>(i));
    const double kept_a = 1.0 / (1.0 + a * a);  // Cumulative alphas.
    const double kept_b = 1.0 / (1.0 + b * b);
    const double q = kept_a / kept_b;
    x = (std::sqrt(kept_a) * x - (1.0 - q) / a / std::sqrt(1.0 - kept_a) * (x - denoised)) /
        std::sqrt(q * kept_b);
    if (b > 0.0) {
      x += std::sqrt((1.0 - q) * (1.0 - kept_b) / (1.0 - kept_a) / kept_b) * run.trace.noise(a, b);
    }
  }
  return x;
}

// Luo et al. 2023 (arXiv 2310.04378): the answer, noised again; from s_noise to s_noise_end over the
// run.
Expr lcm(const Run& run, Expr x) {
  const double first = run.options.number("s_noise");
  const double given = run.options.number("s_noise_end");
  const double last = std::isnan(given) ? first : given;
  for (std::size_t i = 0; i < run.steps(); ++i) {
    const double a = run.sigmas[i];
    const double b = run.sigmas[i + 1];
    x = run.trace.denoise(x, a, static_cast<int>(i));
    if (b == 0.0) continue;
    const double part =
        static_cast<double>(i) / static_cast<double>(std::max<std::size_t>(1, run.steps() - 1));
    const double strength = first + (last - first) * part;
    x = run.prediction.alpha(b) * x + b * strength * run.trace.noise(a, b);
  }
  return x;
}

}  // namespace pa
