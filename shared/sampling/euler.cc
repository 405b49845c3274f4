#include <cmath>
#include <numbers>

#include "shared/sampling/catalogue.h"

namespace pa {
namespace {

/// Raises the noise level before a step, if options say so (algorithm 2 of the paper): adds noise
/// to `x` and returns its new level.
double churn(const Run& run, Expr& x, double sigma) {
  const OptionValues& options = run.options;
  if (sigma < options.number("s_tmin") || sigma > options.number("s_tmax")) return sigma;
  const double gamma = std::min(options.number("s_churn") / static_cast<double>(run.steps()),
                                std::numbers::sqrt2 - 1.0);
  if (gamma <= 0.0) return sigma;
  const double raised = sigma * (1.0 + gamma);
  const double weight = options.number("s_noise") * std::sqrt(raised * raised - sigma * sigma);
  x += weight * run.trace.noise(sigma, raised);
  return raised;
}

}  // namespace

Expr euler(const Run& run, Expr x) {
  for (std::size_t i = 0; i < run.steps(); ++i) {
    const double a = churn(run, x, run.sigmas[i]);
    const double b = run.sigmas[i + 1];
    const Expr denoised = run.trace.denoise(x, a, static_cast<int>(i));
    x = move(x, denoised, b / a);
  }
  return x;
}

Expr heun(const Run& run, Expr x) {
  for (std::size_t i = 0; i < run.steps(); ++i) {
    const double a = churn(run, x, run.sigmas[i]);
    const double b = run.sigmas[i + 1];
    const Expr denoised = run.trace.denoise(x, a, static_cast<int>(i));
    const Expr slope = (x - denoised) / a;
    Expr ahead = x + (b - a) * slope;
    if (b == 0.0) {
      x = ahead;
    } else {
      const Expr denoised_ahead = run.trace.denoise(ahead, b);
      x += (b - a) / 2.0 * (slope + (ahead - denoised_ahead) / b);
    }
  }
  return x;
}

// Two Euler steps onto the next levels, the last one left out, and the slopes there averaged
// (Carzit/sd-webui-samplers-scheduler).
Expr heunpp2(const Run& run, Expr x) {
  const std::size_t n = run.steps();
  for (std::size_t i = 0; i < n; ++i) {
    const double a = churn(run, x, run.sigmas[i]);
    const double b = run.sigmas[i + 1];
    const Expr denoised = run.trace.denoise(x, a, static_cast<int>(i));
    const Expr slope = (x - denoised) / a;
    const std::size_t end = std::min(i + 3, n);
    const double count = static_cast<double>(end - i);
    Expr mean = slope;
    Expr ahead = x;
    Expr slope_ahead = slope;
    double level = a;
    for (std::size_t k = i + 1; k < end; ++k) {
      const double next = run.sigmas[k];
      ahead += (next - level) * slope_ahead;
      const Expr denoised_ahead = run.trace.denoise(ahead, next);
      slope_ahead = (ahead - denoised_ahead) / next;
      level = next;
      mean += next / (count * run.sigmas[0]) * (slope_ahead - slope);
    }
    x += (b - a) * mean;
  }
  return x;
}

Expr dpm_2(const Run& run, Expr x) {
  for (std::size_t i = 0; i < run.steps(); ++i) {
    const double a = churn(run, x, run.sigmas[i]);
    const double b = run.sigmas[i + 1];
    const Expr denoised = run.trace.denoise(x, a, static_cast<int>(i));
    if (b == 0.0) {
      x = denoised;
    } else {
      const double middle = std::sqrt(a * b);
      Expr halfway = move(x, denoised, middle / a);
      const Expr denoised_halfway = run.trace.denoise(halfway, middle);
      x += (b - a) / middle * (halfway - denoised_halfway);
    }
  }
  return x;
}

}  // namespace pa
