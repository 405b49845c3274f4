#pragma once

#include "shared/sampling/catalogue.h"
#include "shared/sampling/step_math.h"

/// What ancestral samplers have in common.
namespace pa {

/// A step from sigma a to b > 0 that has begun: the answers at a, and where it goes before noise
/// brings it up to b.
struct AncestralStep {
  double a = 0;
  double b = 0;
  Trace::Answers answers;
  AncestralSplit split;
  double noise = 0;    ///< Weight of the fresh noise.
  bool draws = false;  ///< Whether there is any.
};

/// Runs a sampler with options `eta` and `s_noise`: x becomes `take(step, x)` in every step, and the
/// answer itself in one to b = 0. `split(a, b, eta)` tells where steps go; `want_uncond`: whether they
/// need the unconditional answer too.
template <class Split, class Take>
[[nodiscard]] Expr ancestral_steps(const Run& run, Expr x, bool want_uncond, Split split,
                                   Take take) {
  const double eta = run.options.number("eta");
  const double s_noise = run.options.number("s_noise");
  for (std::size_t i = 0; i < run.steps(); ++i) {
    const double a = run.sigmas[i];
    const double b = run.sigmas[i + 1];
    const Trace::Answers answers = run.trace.denoise_pair(x, a, static_cast<int>(i), want_uncond);
    if (b == 0.0) {
      x = answers.denoised;
      continue;
    }
    const AncestralSplit parts = split(a, b, eta);
    x = take(AncestralStep{a, b, answers, parts, parts.up * s_noise, eta > 0.0}, x);
  }
  return x;
}

/// From x at step.split.down to x at step.b.
[[nodiscard]] inline Expr with_fresh_noise(const Run& run, const AncestralStep& step,
                                           const Expr& x) {
  Expr noised = step.split.scale * x;
  if (step.draws) noised += step.noise * run.trace.noise(step.a, step.b);
  return noised;
}

}  // namespace pa
