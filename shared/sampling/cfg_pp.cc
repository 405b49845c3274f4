#include <cmath>
#include <limits>

#include "shared/sampling/ancestral_steps.h"

namespace pa {
namespace {

/// To the guided answer, but renoised along the unconditional one.
Expr euler_renoised(const Run& run, Expr x, double eta, double s_noise) {
  const Prediction& prediction = run.prediction;
  for (std::size_t i = 0; i < run.steps(); ++i) {
    const double a = run.sigmas[i];
    const double b = run.sigmas[i + 1];
    const Trace::Answers answers = run.trace.denoise_pair(x, a, static_cast<int>(i));
    if (b == 0.0) {
      x = answers.denoised;
      continue;
    }
    const double alpha_a = prediction.alpha(a);
    const double alpha_b = prediction.alpha(b);
    const AncestralSplit split = ancestral_split(
        alpha_a > 0.0 ? a / alpha_a : std::numeric_limits<double>::infinity(), b / alpha_b, eta);
    x = alpha_b * (answers.denoised + split.down / a * (x - alpha_a * answers.uncond));
    if (eta > 0.0 && s_noise > 0.0) {
      x += alpha_b * split.up * s_noise * run.trace.noise(a, b);
    }
  }
  return x;
}

}  // namespace

Expr euler_cfg_pp(const Run& run, Expr x) { return euler_renoised(run, std::move(x), 0.0, 0.0); }

Expr euler_ancestral_cfg_pp(const Run& run, Expr x) {
  return euler_renoised(run, std::move(x), run.options.number("eta"),
                        run.options.number("s_noise"));
}

// The rules of a process that only adds noise, on flows too, as ComfyUI has it.
Expr dpmpp_2s_ancestral_cfg_pp(const Run& run, Expr x) {
  const auto split = [](double a, double b, double eta) { return ancestral_split(a, b, eta); };
  const auto take = [&](const AncestralStep& step, const Expr& from) {
    const Expr& denoised = step.answers.denoised;
    const double down = step.split.down;
    if (down == 0.0) return with_fresh_noise(run, step, denoised);
    const double middle = std::sqrt(step.a * down);
    Expr halfway = move(from + denoised - step.answers.uncond, denoised, middle / step.a);
    const Trace::Answers answers = run.trace.denoise_pair(halfway, middle, -1);
    const double ratio = down / step.a;
    return with_fresh_noise(
        run, step, ratio * (from + denoised - answers.uncond) + (1.0 - ratio) * answers.denoised);
  };
  return ancestral_steps(run, std::move(x), /*want_uncond=*/true, split, take);
}

}  // namespace pa
