#include <cmath>

#include "shared/sampling/ancestral_steps.h"

namespace pa {
namespace {

/// ancestral_steps() in the process of the prediction type.
template <class Take>
Expr steps_of_process(const Run& run, Expr x, Take take) {
  const auto split = [&](double a, double b, double eta) {
    return ancestral_split(run.prediction, a, b, eta);
  };
  return ancestral_steps(run, std::move(x), /*want_uncond=*/false, split, take);
}

}  // namespace

Expr euler_ancestral(const Run& run, Expr x) {
  return steps_of_process(run, std::move(x), [&](const AncestralStep& step, const Expr& from) {
    const Expr& denoised = step.answers.denoised;
    if (step.split.down == 0.0) return denoised;
    return with_fresh_noise(run, step, move(from, denoised, step.split.down / step.a));
  });
}

Expr dpm_2_ancestral(const Run& run, Expr x) {
  return steps_of_process(run, std::move(x), [&](const AncestralStep& step, const Expr& from) {
    const Expr& denoised = step.answers.denoised;
    const double down = step.split.down;
    if (down == 0.0) return denoised;
    const double middle = std::sqrt(step.a * down);
    Expr halfway = move(from, denoised, middle / step.a);
    const Expr denoised_halfway = run.trace.denoise(halfway, middle);
    const Expr slope = halfway - denoised_halfway;
    return with_fresh_noise(run, step, from + (down - step.a) / middle * slope);
  });
}

Expr dpmpp_2s_ancestral(const Run& run, Expr x) {
  const Prediction& prediction = run.prediction;
  const auto middle_of = [&](double a, double down) {
    if (prediction.flow() && a == 1.0) return 0.9999;  // ComfyUI's, where lambda is infinite.
    return prediction.sigma_at((prediction.lambda(a) + prediction.lambda(down)) / 2.0);
  };
  return steps_of_process(run, std::move(x), [&](const AncestralStep& step, const Expr& from) {
    const Expr& denoised = step.answers.denoised;
    const double down = step.split.down;
    if (down == 0.0) return with_fresh_noise(run, step, denoised);
    const double middle = middle_of(step.a, down);
    const Expr denoised_halfway = run.trace.denoise(move(from, denoised, middle / step.a), middle);
    return with_fresh_noise(run, step, move(from, denoised_halfway, down / step.a));
  });
}

}  // namespace pa
