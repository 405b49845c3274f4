#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "shared/sampling/catalogue.h"
#include "shared/sampling/step_math.h"

namespace pa {

// In the noise level v = sigma / alpha of the unscaled process. The two integrals are sums over 200
// points, as in the paper's own code (ER-SDE-Solver).
Expr er_sde(const Run& run, Expr x) {
  constexpr int kPoints = 200;
  const std::string& solver = run.options.text("solver_type");
  const bool ode = solver == "ODE" || run.options.number("eta") == 0.0;
  const double eta = ode ? 0.0 : run.options.number("eta");
  const double s_noise = ode ? 0.0 : run.options.number("s_noise");
  const std::size_t max_stage = run.options.count("max_stage");
  const auto scale = [&](double v) {
    return v * std::pow(solver == "Reverse-time SDE" ? v : std::exp(std::pow(v, 0.3)) + 10.0, eta);
  };

  const Prediction& prediction = run.prediction;
  const std::vector<double> sigmas = with_finite_lambda(prediction, run.sigmas);
  std::vector<double> vs;
  for (const double sigma : sigmas) vs.push_back(sigma / prediction.alpha(sigma));
  std::optional<Expr> denoised_before;
  std::optional<Expr> slope_before;
  for (std::size_t i = 0; i < run.steps(); ++i) {
    const double a = sigmas[i];
    const double b = sigmas[i + 1];
    const Expr denoised = run.trace.denoise(x, a, static_cast<int>(i));
    if (b == 0.0) return denoised;
    const double v = vs[i];
    const double w = vs[i + 1];
    const double alpha = prediction.alpha(b);
    const double ratio = scale(w) / scale(v);
    x = alpha / prediction.alpha(a) * ratio * x + alpha * (1.0 - ratio) * denoised;
    const std::size_t stage = std::min(max_stage, i + 1);
    if (stage >= 2) {
      const double length = w - v;
      const double point = length / kPoints;
      double sum = 0;         // Of 1 / scale(u),
      double sum_moment = 0;  // and of (u - v) / scale(u).
      for (int k = 0; k < kPoints; ++k) {
        const double u = w - point * k;
        sum += 1.0 / scale(u);
        sum_moment += (u - v) / scale(u);
      }
      Expr slope = (denoised - *denoised_before) / (v - vs[i - 1]);
      x += alpha * (length - point * sum * scale(w)) * slope;
      if (stage >= 3) {
        const Expr curve = (slope - *slope_before) / ((v - vs[i - 2]) / 2.0);
        x += alpha * (length * length / 2.0 - point * sum_moment * scale(w)) * curve;
      }
      run.trace.keep(slope);
      slope_before = slope;
    }
    if (s_noise > 0.0) {
      x += alpha * std::sqrt(std::max(0.0, w * w - v * v * ratio * ratio)) * s_noise *
           run.trace.noise(a, b);
    }
    denoised_before = denoised;
  }
  return x;
}

}  // namespace pa
