#include <cmath>
#include <functional>
#include <vector>

#include "shared/sampling/catalogue.h"
#include "shared/sampling/step_math.h"

namespace pa {
namespace {

/// Weights of the answers so far at the end of a stage that reaches `grown` = r * h * (1 + eta).
using Combine = std::function<std::vector<double>(std::size_t stage, double grown)>;

/// Stages at the fractions `nodes` of h, and then its end. One Brownian path serves all of them: the
/// noise at a later stage is the earlier one, decayed, and a new part.
Expr staged(const Run& run, Expr x, std::vector<double> nodes, double eta, double s_noise,
            const Combine& combine) {
  const Prediction& prediction = run.prediction;
  const std::vector<double> sigmas = with_finite_lambda(prediction, run.sigmas);
  const std::size_t inner = nodes.size();
  nodes.push_back(1.0);
  for (std::size_t i = 0; i < run.steps(); ++i) {
    const double a = sigmas[i];
    const double b = sigmas[i + 1];
    std::vector<Expr> answers{run.trace.denoise(x, a, static_cast<int>(i))};
    if (b == 0.0) return answers.front();
    const double lambda_a = prediction.lambda(a);
    const double h = prediction.lambda(b) - lambda_a;
    Expr path;
    double r_before = 0.0;
    double s_before = a;
    for (std::size_t k = 0; k <= inner; ++k) {
      const double r = nodes[k];
      const double s = k < inner ? prediction.sigma_at(lambda_a + r * h) : b;
      const std::vector<double> weights = combine(k, r * h * (1.0 + eta));
      Expr y = s / a * std::exp(-r * h * eta) * x;
      for (std::size_t j = 0; j <= k; ++j) y += prediction.alpha(s) * weights[j] * answers[j];
      if (eta > 0.0 && s_noise > 0.0) {
        const double part = (r - r_before) * h * eta;
        path = std::exp(-part) * path +
               std::sqrt(-std::expm1(-2.0 * part)) * run.trace.noise(s_before, s);
        y += s * s_noise * path;
      }
      if (k < inner) {
        answers.push_back(run.trace.denoise(y, s));
        r_before = r;
        s_before = s;
      } else {
        x = y;
      }
    }
  }
  return x;
}

/// Of the first and the latest answer, 1 / ratio apart: the exponential integral of the line through
/// both.
struct LineWeights {
  double first = 0;
  double latest = 0;
};
LineWeights line_weights(double grown, double ratio) {
  const double latest = grown * phi(2, -grown) * ratio;
  return {-std::expm1(-grown) - latest, latest};
}

Expr two_stages(const Run& run, Expr x, double r, double eta, double s_noise) {
  const bool exact = run.options.text("solver_type") == "phi_2";
  return staged(run, std::move(x), {r}, eta, s_noise,
                [&](std::size_t stage, double grown) -> std::vector<double> {
                  const double whole = -std::expm1(-grown);
                  if (stage == 0) return {whole};
                  if (exact) {
                    const LineWeights line = line_weights(grown, 1.0 / r);
                    return {line.first, line.latest};
                  }
                  const double late = 1.0 / (2.0 * r);
                  return {whole * (1.0 - late), whole * late};
                });
}

}  // namespace

Expr seeds_2(const Run& run, Expr x) {
  return two_stages(run, std::move(x), run.options.number("r"), run.options.number("eta"),
                    run.options.number("s_noise"));
}

Expr seeds_3(const Run& run, Expr x) {
  const double r_1 = run.options.number("r_1");
  const double r_2 = run.options.number("r_2");
  return staged(run, std::move(x), {r_1, r_2}, run.options.number("eta"),
                run.options.number("s_noise"),
                [&](std::size_t stage, double grown) -> std::vector<double> {
                  if (stage == 0) return {-std::expm1(-grown)};
                  const LineWeights line = line_weights(grown, stage == 1 ? r_2 / r_1 : 1.0 / r_2);
                  if (stage == 1) return {line.first, line.latest};
                  return {line.first, 0.0, line.latest};
                });
}

// Heun's method in exponential form: the inner stage stands at the end of the step.
Expr exp_heun_2_x0(const Run& run, Expr x) { return two_stages(run, std::move(x), 1.0, 0.0, 0.0); }

Expr exp_heun_2_x0_sde(const Run& run, Expr x) {
  return two_stages(run, std::move(x), 1.0, run.options.number("eta"),
                    run.options.number("s_noise"));
}

}  // namespace pa
