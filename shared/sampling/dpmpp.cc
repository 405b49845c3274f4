#include <cmath>
#include <deque>
#include <optional>

#include "shared/sampling/catalogue.h"
#include "shared/sampling/step_math.h"

namespace pa {
namespace {

/// The second order multistep method; with `cfg_pp` renoised along the unconditional answers.
Expr second_order(const Run& run, Expr x, bool cfg_pp) {
  std::optional<Expr> before;
  for (std::size_t i = 0; i < run.steps(); ++i) {
    const double a = run.sigmas[i];
    const double b = run.sigmas[i + 1];
    const Trace::Answers answers = run.trace.denoise_pair(x, a, static_cast<int>(i), cfg_pp);
    x = answers.denoised + b / a * (x - answers.uncond);
    if (before && b > 0.0) {
      const double ratio = std::log(a / b) / std::log(run.sigmas[i - 1] / a);  // h / h_before
      x += (1.0 - b / a) * ratio / 2.0 * (answers.denoised - *before);
    }
    before = answers.uncond;
  }
  return x;
}

enum class Rule { kMidpoint, kHeun };  // How the second order term is weighed.

Expr stochastic_multistep(const Run& run, Expr x, std::size_t order, Rule rule) {
  const double eta = run.options.number("eta");
  const double s_noise = run.options.number("s_noise");
  const Prediction& prediction = run.prediction;
  const std::vector<double> sigmas = with_finite_lambda(prediction, run.sigmas);
  std::deque<Expr> answers;  // Of earlier steps, newest first.
  std::deque<double> hs;     // Of earlier steps, newest first: hs[0] ended at a.
  for (std::size_t i = 0; i < run.steps(); ++i) {
    const double a = sigmas[i];
    const double b = sigmas[i + 1];
    const Expr denoised = run.trace.denoise(x, a, static_cast<int>(i));
    if (b == 0.0) return denoised;
    const double h = prediction.lambda(b) - prediction.lambda(a);
    const double grown = h * (1.0 + eta);
    const double alpha = prediction.alpha(b);
    x = b / a * std::exp(-h * eta) * x - alpha * std::expm1(-grown) * denoised;
    const double phi2 =
        rule == Rule::kMidpoint ? -std::expm1(-grown) / 2.0 : grown * phi(2, -grown);
    if (answers.size() == 1 || (!answers.empty() && order == 2)) {
      x += alpha * phi2 * h / hs[0] * (denoised - answers[0]);
    } else if (answers.size() == 2) {
      const double r0 = hs[0] / h;
      const double r1 = hs[1] / h;
      const Expr near = (denoised - answers[0]) / r0;
      const Expr far = (answers[0] - answers[1]) / r1;
      const Expr curve = (near - far) / (r0 + r1);
      x += alpha * phi2 * (near + r0 * curve) - alpha * (phi2 / grown - 0.5) * curve;
    }
    if (eta > 0.0 && s_noise > 0.0) {
      x += b * std::sqrt(-std::expm1(-2.0 * h * eta)) * s_noise * run.trace.noise(a, b);
    }
    answers.push_front(denoised);
    hs.push_front(h);
    if (answers.size() > order - 1) answers.pop_back();
    if (hs.size() > order - 1) hs.pop_back();
  }
  return x;
}

}  // namespace

// The same for flows, as in k-diffusion.
Expr dpmpp_2m(const Run& run, Expr x) { return second_order(run, std::move(x), false); }

Expr dpmpp_2m_cfg_pp(const Run& run, Expr x) { return second_order(run, std::move(x), true); }

Expr dpmpp_2m_sde(const Run& run, Expr x) {
  const bool midpoint = run.options.text("solver_type") == "midpoint";
  return stochastic_multistep(run, std::move(x), 2, midpoint ? Rule::kMidpoint : Rule::kHeun);
}

Expr dpmpp_3m_sde(const Run& run, Expr x) {
  return stochastic_multistep(run, std::move(x), 3, Rule::kHeun);
}

// Single step: both halves start from the same x, and their noises overlap.
Expr dpmpp_sde(const Run& run, Expr x) {
  const double eta = run.options.number("eta");
  const double s_noise = run.options.number("s_noise");
  const double r = run.options.number("r");
  const Prediction& prediction = run.prediction;
  const std::vector<double> sigmas = with_finite_lambda(prediction, run.sigmas);
  for (std::size_t i = 0; i < run.steps(); ++i) {
    const double a = sigmas[i];
    const double b = sigmas[i + 1];
    const Expr denoised = run.trace.denoise(x, a, static_cast<int>(i));
    if (b == 0.0) return denoised;
    const double lambda_a = prediction.lambda(a);
    const double middle = prediction.sigma_at(lambda_a + r * (prediction.lambda(b) - lambda_a));
    const auto step_to = [&](double s, const Expr& answer) {
      const double from = a / prediction.alpha(a);
      const double alpha = prediction.alpha(s);
      const AncestralSplit split = ancestral_split(from, s / alpha, eta);
      Expr y = alpha * move(x / prediction.alpha(a), answer, split.down / from);
      if (eta > 0.0 && s_noise > 0.0) y += alpha * split.up * s_noise * run.trace.noise(a, s);
      return y;
    };
    Expr halfway = step_to(middle, denoised);
    const Expr denoised_halfway = run.trace.denoise(halfway, middle);
    x = step_to(b, move(denoised, denoised_halfway, 1.0 - 1.0 / (2.0 * r)));
  }
  return x;
}

}  // namespace pa
