#include <cmath>
#include <optional>

#include "shared/sampling/catalogue.h"
#include "shared/sampling/step_math.h"

namespace pa {
namespace {

/// Second order exponential multistep, to the lower level of an ancestral step; then noise.
Expr exponential_multistep(const Run& run, Expr x, double eta, bool cfg_pp) {
  const double s_noise = run.options.number("s_noise");
  std::optional<Expr> before;
  double down_before = 0;
  for (std::size_t i = 0; i < run.steps(); ++i) {
    const double a = run.sigmas[i];
    const double b = run.sigmas[i + 1];
    const Trace::Answers answers = run.trace.denoise_pair(x, a, static_cast<int>(i), cfg_pp);
    const AncestralSplit split = ancestral_split(a, b, eta);
    const double ratio = split.down / a;
    if (split.down == 0.0 || !before) {
      x = answers.denoised + ratio * (x - answers.uncond);
    } else {
      const double h = std::log(a / split.down);
      const double c2 = std::log(down_before / run.sigmas[i - 1]) / h;
      const double b2 = phi(2, -h) / c2;
      x = ratio * (x + answers.denoised - answers.uncond) +
          h * ((phi(1, -h) - b2) * answers.uncond + b2 * *before);
    }
    if (split.up > 0.0) x += split.up * s_noise * run.trace.noise(a, b);
    before = answers.uncond;
    down_before = split.down;
  }
  return x;
}

}  // namespace

Expr res_multistep(const Run& run, Expr x) {
  return exponential_multistep(run, std::move(x), 0.0, /*cfg_pp=*/false);
}

Expr res_multistep_cfg_pp(const Run& run, Expr x) {
  return exponential_multistep(run, std::move(x), 0.0, /*cfg_pp=*/true);
}

Expr res_multistep_ancestral(const Run& run, Expr x) {
  return exponential_multistep(run, std::move(x), run.options.number("eta"), /*cfg_pp=*/false);
}

Expr res_multistep_ancestral_cfg_pp(const Run& run, Expr x) {
  return exponential_multistep(run, std::move(x), run.options.number("eta"), /*cfg_pp=*/true);
}

}  // namespace pa
