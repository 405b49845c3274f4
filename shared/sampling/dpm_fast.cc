#include <cmath>
#include <vector>

#include "shared/sampling/catalogue.h"
#include "shared/sampling/step_math.h"

namespace pa {
namespace {

/// Orders of the steps that make up `evaluations`: as many of order 3 as go, then what is left.
std::vector<int> orders_for(std::size_t evaluations) {
  const std::size_t steps = evaluations / 3 + 1;
  const int left = static_cast<int>(evaluations % 3);
  std::vector<int> orders(left == 0 ? steps - 2 : steps - 1, 3);
  if (left == 0) {
    orders.insert(orders.end(), {2, 1});
  } else {
    orders.push_back(left);
  }
  return orders;
}

/// One step of DPM-Solver from sigma a over h in -ln sigma, on the noise in x.
class FastStep {
 public:
  FastStep(const Run& run, Expr& x, double a, double h, int step)
      : run_(run), x_(x), a_(a), h_(h), noise_(noise_in(x, 0.0, step)) {
    run.trace.keep(noise_);
  }

  [[nodiscard]] Expr end(int order) const {
    if (order == 1) return reach(1.0);
    if (order == 2) {
      Expr halfway = reach(1.0 / 2.0);
      return bent(1.0, std::expm1(h_), noise_in(halfway, 1.0 / 2.0));
    }
    Expr third = reach(1.0 / 3.0);
    const Expr first = noise_in(third, 1.0 / 3.0);
    Expr two_thirds = bent(2.0 / 3.0, 2.0 * (phi(1, 2.0 / 3.0 * h_) - 1.0), first);
    const Expr second = noise_in(two_thirds, 2.0 / 3.0);
    return bent(1.0, 1.5 * (phi(1, h_) - 1.0), second);
  }

 private:
  [[nodiscard]] double sigma(double r) const { return a_ * std::exp(-r * h_); }

  /// The noise in y, which is r * h into the step.
  Expr noise_in(Expr& y, double r, int step = -1) const {
    const Expr denoised = run_.trace.denoise(y, sigma(r), step);
    return (y - denoised) / sigma(r);
  }
  /// x at r * h into the step, along the noise at its start.
  [[nodiscard]] Expr reach(double r) const { return x_ - sigma(r) * std::expm1(r * h_) * noise_; }
  /// The same, bent by how the noise changed.
  [[nodiscard]] Expr bent(double r, double bend, const Expr& later) const {
    return reach(r) - sigma(r) * bend * (later - noise_);
  }

  const Run& run_;
  const Expr& x_;
  double a_;
  double h_;
  Expr noise_;
};

}  // namespace

// DPM-Solver-fast with as many evaluations as the schedule has steps, at equal steps in -ln sigma
// between its ends; it stops at the last positive sigma.
Expr dpm_fast(const Run& run, Expr x) {
  const std::size_t n = run.steps();
  const double start = -std::log(run.sigmas.front());
  const double last = run.sigmas.back() > 0.0 ? run.sigmas.back() : run.sigmas[n - 1];
  const double end = -std::log(last);
  const std::vector<int> orders = orders_for(n);
  const auto count = static_cast<double>(orders.size());
  for (std::size_t i = 0; i < orders.size(); ++i) {
    const double t = start + (end - start) * static_cast<double>(i) / count;
    const double h = (end - start) / count;
    x = FastStep(run, x, std::exp(-t), h, static_cast<int>(i)).end(orders[i]);
    run.trace.noise(std::exp(-t), std::exp(-t - h));  // k-diffusion draws, and weighs it with 0.
  }
  return x;
}

}  // namespace pa
