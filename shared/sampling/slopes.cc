#include <array>
#include <cmath>
#include <deque>
#include <functional>
#include <optional>

#include "shared/sampling/catalogue.h"
#include "shared/sampling/step_math.h"

namespace pa {
namespace {

/// Weights of the newest `count` slopes, newest first, for step i.
using SlopeWeights = std::function<std::vector<double>(std::size_t i, std::size_t count)>;

/// x += the weighted sum of the newest slopes, at most `order`; the step to zero takes the answer.
Expr along_slopes(const Run& run, Expr x, std::size_t order, const SlopeWeights& weights_of) {
  std::deque<Expr> slopes;  // Newest first.
  for (std::size_t i = 0; i < run.steps(); ++i) {
    const double a = run.sigmas[i];
    const Expr denoised = run.trace.denoise(x, a, static_cast<int>(i));
    slopes.push_front((x - denoised) / a);
    run.trace.keep(slopes.front());
    if (slopes.size() > order) slopes.pop_back();
    if (run.sigmas[i + 1] == 0.0) {
      x = denoised;
      continue;
    }
    const std::vector<double> weights = weights_of(i, slopes.size());
    for (std::size_t j = 0; j < slopes.size(); ++j) x += weights[j] * slopes[j];
  }
  return x;
}

/// Newest first, steps h0, h1, ... (their differences of sigma) of ipndm_v, for a step of 1. As
/// zju-pi/diff-sampler has them: from order 3 on not quite Adams-Bashforth on uneven steps.
std::vector<double> variable_step_weights(const std::vector<double>& h) {
  const std::size_t order = h.size();
  if (order == 1) return {1.0};
  const double g = h[0] / (2.0 * h[1]);
  if (order == 2) return {1.0 + g, -g};
  const double t1 = (1.0 - h[0] * h[0] / (3.0 * h[1] * (h[1] + h[2]))) / 2.0;
  const double q = h[1] / h[2];
  if (order == 3) return {1.0 + g + t1, -g - (1.0 + q) * t1, q * t1};
  const double two_back = h[0] + h[1];
  const double three_back = h[0] + h[1] + h[2];
  const double t2 = ((1.0 - h[0] / (3.0 * two_back)) / 2.0 +
                     (1.0 - h[0] / (2.0 * two_back)) * h[0] / (6.0 * three_back)) *
                    (h[0] * two_back * three_back / (h[1] * (h[1] + h[2]) * (h[1] + h[2] + h[3])));
  const double r = h[1] * (h[1] + h[2]) / (h[2] * (h[2] + h[3]));
  return {1.0 + g + t1 + t2, -g - (1.0 + q) * t1 - (1.0 + q + r) * t2,
          q * t1 + (q + r * (1.0 + h[2] / h[3])) * t2, -r * q * t2};
}

/// The time of the variance preserving process in which DEIS integrates, with its usual constants:
/// betas that put sigma 0.002 at time 0.001 and sigma 80 at time 1.
class DeisTime {
 public:
  DeisTime() {
    const double low = std::log(0.002 * 0.002 + 1.0);
    const double high = std::log(80.0 * 80.0 + 1.0);
    slope_ = 2.0 * (low / 1e-3 - high) / (1e-3 - 1.0);
    base_ = high - slope_ / 2.0;
  }

  [[nodiscard]] double at(double sigma) const {
    return (std::sqrt(base_ * base_ + 2.0 * slope_ * std::log(sigma * sigma + 1.0)) - base_) /
           slope_;
  }
  /// How much of a slope a unit of time moves x by.
  [[nodiscard]] double speed(double time) const {
    const double log_alpha = -0.5 * time * time * slope_ - time * base_;
    return 0.5 * (time * slope_ + base_) / std::sqrt(std::exp(log_alpha) * -std::expm1(log_alpha));
  }

 private:
  double slope_ = 0;
  double base_ = 0;
};

/// (b - a) times the mean of f over 10000 points from a to b, both included: what zju-pi/diff-sampler
/// takes for the integral. Where the points are close, for what f does near 0, it follows from the
/// integral (Euler-Maclaurin), so that a step costs microseconds.
double mean_of_points(double a, double b, const std::function<double(double)>& f) {
  constexpr int kPoints = 10000;
  const double h = (b - a) / (kPoints - 1);
  double sum = 0;
  if (b < 1000.0 * std::abs(h)) {
    for (int k = 0; k < kPoints; ++k) sum += f(a + h * k);
    return sum * (b - a) / kPoints;
  }
  const auto slope = [&](double t) { return (f(t * 1.0001) - f(t * 0.9999)) / (t * 0.0002); };
  // Over the root of t, since f goes as one over it towards 0.
  const double integral = integrate(std::sqrt(a), std::sqrt(b),
                                    [&](double root) { return f(root * root) * 2.0 * root; });
  sum = integral + h / 2.0 * (f(a) + f(b)) + h * h / 12.0 * (slope(b) - slope(a));
  return sum * (kPoints - 1) / kPoints;
}

Expr gradient_steps(const Run& run, Expr x, bool cfg_pp) {
  const double gamma = run.options.number("ge_gamma");
  std::optional<Expr> before;
  for (std::size_t i = 0; i < run.steps(); ++i) {
    const double a = run.sigmas[i];
    const double b = run.sigmas[i + 1];
    const Trace::Answers answers = run.trace.denoise_pair(x, a, static_cast<int>(i), cfg_pp);
    Expr slope = (x - answers.uncond) / a;
    run.trace.keep(slope);
    if (b == 0.0) {
      x = answers.denoised;
    } else {
      x = cfg_pp ? answers.denoised + b * slope : x + (b - a) * slope;
      if (before) x += (gamma - 1.0) * (b - a) * (slope - *before);
    }
    before = slope;
  }
  return x;
}

}  // namespace

// Adams-Bashforth on uneven steps; k-diffusion.
Expr lms(const Run& run, Expr x) {
  return along_slopes(run, std::move(x), run.options.count("order"),
                      [&](std::size_t i, std::size_t count) {
                        return adams_weights(newest(run.sigmas, i, count), run.sigmas[i],
                                             run.sigmas[i + 1], nullptr);
                      });
}

// Adams-Bashforth weights for equal steps (iPNDM of zju-pi/diff-sampler, after arXiv 2202.09778 and
// 2204.13902).
Expr ipndm(const Run& run, Expr x) {
  static constexpr std::array<std::array<double, 4>, 4> kWeights{
      {{1.0},
       {3.0 / 2.0, -1.0 / 2.0},
       {23.0 / 12.0, -16.0 / 12.0, 5.0 / 12.0},
       {55.0 / 24.0, -59.0 / 24.0, 37.0 / 24.0, -9.0 / 24.0}}};
  return along_slopes(run, std::move(x), run.options.count("max_order"),
                      [&](std::size_t i, std::size_t count) {
                        std::vector<double> weights(count);
                        for (std::size_t j = 0; j < count; ++j) {
                          weights[j] = (run.sigmas[i + 1] - run.sigmas[i]) * kWeights[count - 1][j];
                        }
                        return weights;
                      });
}

Expr ipndm_v(const Run& run, Expr x) {
  return along_slopes(run, std::move(x), run.options.count("max_order"),
                      [&](std::size_t i, std::size_t count) {
                        std::vector<double> h;
                        for (std::size_t j = 0; j < count; ++j) {
                          h.push_back(run.sigmas[i - j + 1] - run.sigmas[i - j]);
                        }
                        std::vector<double> weights = variable_step_weights(h);
                        for (double& weight : weights) weight *= h.front();
                        return weights;
                      });
}

// DEIS-tAB, Zhang and Chen 2022 (arXiv 2204.13902).
Expr deis(const Run& run, Expr x) {
  const DeisTime time;
  std::vector<double> times;
  for (const double sigma : run.sigmas) times.push_back(time.at(sigma));
  const auto weights = [&](std::size_t i, std::size_t count) -> std::vector<double> {
    if (count == 1) return {run.sigmas[i + 1] - run.sigmas[i]};
    const std::vector<double> nodes = newest(times, i, count);
    std::vector<double> sums;
    for (std::size_t j = 0; j < count; ++j) {
      sums.push_back(mean_of_points(
          times[i], times[i + 1], [&](double t) { return time.speed(t) * lagrange(nodes, j, t); }));
    }
    return sums;
  };
  return along_slopes(run, std::move(x), run.options.count("max_order"), weights);
}

// Permenter, Yuan 2023 (arXiv 2306.04848): Euler along d + (gamma - 1) * (d - d_before).
Expr gradient_estimation(const Run& run, Expr x) {
  return gradient_steps(run, std::move(x), /*cfg_pp=*/false);
}

Expr gradient_estimation_cfg_pp(const Run& run, Expr x) {
  return gradient_steps(run, std::move(x), /*cfg_pp=*/true);
}

}  // namespace pa
