#include <algorithm>
#include <array>
#include <cmath>
#include <deque>
#include <optional>

#include "shared/sampling/catalogue.h"

namespace pa {

// DPM-Solver++(2M), Lu et al. 2022 (arXiv 2211.01095), as in k-diffusion: the same for flows.
Expr dpmpp_2m(const Run& run, Expr x) {
  std::optional<Expr> before;
  for (std::size_t i = 0; i < run.steps(); ++i) {
    const double a = run.sigmas[i];
    const double b = run.sigmas[i + 1];
    const Expr denoised = run.trace.denoise(x, a, static_cast<int>(i));
    x = move(x, denoised, b / a);
    if (before && b > 0.0) {
      const double ratio = std::log(a / b) / std::log(run.sigmas[i - 1] / a);  // h / h_before
      x += (1.0 - b / a) * ratio / 2.0 * (denoised - *before);
    }
    before = denoised;
  }
  return x;
}

// Second order exponential multistep, Zhang et al. 2023 (arXiv 2308.02157).
Expr res_multistep(const Run& run, Expr x) {
  std::optional<Expr> before;
  for (std::size_t i = 0; i < run.steps(); ++i) {
    const double a = run.sigmas[i];
    const double b = run.sigmas[i + 1];
    const Expr denoised = run.trace.denoise(x, a, static_cast<int>(i));
    if (b == 0.0 || !before) {
      x = move(x, denoised, b / a);
    } else {
      const double h = std::log(a / b);
      const double c2 = std::log(a / run.sigmas[i - 1]) / h;
      const double b2 = phi(2, -h) / c2;
      x = b / a * x + h * ((phi(1, -h) - b2) * denoised + b2 * *before);
    }
    before = denoised;
  }
  return x;
}

// Permenter, Yuan 2023 (arXiv 2306.04848): Euler along d + (gamma - 1) * (d - d_before).
Expr gradient_estimation(const Run& run, Expr x) {
  const double gamma = run.options.number("ge_gamma");
  std::optional<Expr> before;
  for (std::size_t i = 0; i < run.steps(); ++i) {
    const double a = run.sigmas[i];
    const double b = run.sigmas[i + 1];
    const Expr denoised = run.trace.denoise(x, a, static_cast<int>(i));
    Expr slope = (x - denoised) / a;
    run.trace.keep(slope);
    if (b == 0.0) {
      x = denoised;
    } else {
      x += (b - a) * slope;
      if (before) x += (gamma - 1.0) * (b - a) * (slope - *before);
    }
    before = slope;
  }
  return x;
}

// Adams-Bashforth weights for equal steps on the newest slopes, up to four (iPNDM of
// zju-pi/diff-sampler, after arXiv 2202.09778 and 2204.13902).
Expr ipndm(const Run& run, Expr x) {
  static constexpr std::array<std::array<double, 4>, 4> kWeights{
      {{1.0},
       {3.0 / 2.0, -1.0 / 2.0},
       {23.0 / 12.0, -16.0 / 12.0, 5.0 / 12.0},
       {55.0 / 24.0, -59.0 / 24.0, 37.0 / 24.0, -9.0 / 24.0}}};
  const auto order = static_cast<std::size_t>(run.options.number("max_order"));
  std::deque<Expr> slopes;  // Newest first.
  for (std::size_t i = 0; i < run.steps(); ++i) {
    const double a = run.sigmas[i];
    const double b = run.sigmas[i + 1];
    const Expr denoised = run.trace.denoise(x, a, static_cast<int>(i));
    slopes.push_front((x - denoised) / a);
    run.trace.keep(slopes.front());
    if (slopes.size() > order) slopes.pop_back();
    if (b == 0.0) {
      x = denoised;
    } else {
      const std::array<double, 4>& weights = kWeights[slopes.size() - 1];
      for (std::size_t j = 0; j < slopes.size(); ++j) x += (b - a) * weights[j] * slopes[j];
    }
  }
  return x;
}

}  // namespace pa
