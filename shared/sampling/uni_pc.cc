#include <algorithm>
#include <cmath>
#include <deque>
#include <vector>

#include "shared/sampling/catalogue.h"
#include "shared/sampling/step_math.h"

namespace pa {
namespace {

/// The sigma that stands for 0. ComfyUI asks for 0.001, which its float32 turns into this.
constexpr double kStandsForZero = 0x1p-10;
constexpr std::size_t kHighestOrder = 3;

enum class Variant { kBh1, kBh2 };  // B(h) of the paper.

/// One step from sigmas[i], with the answers so far: its predictor and its corrector.
class UnifiedStep {
 public:
  UnifiedStep(const std::vector<double>& sigmas, std::size_t i, std::size_t order, Variant variant,
              const Expr& x, const std::deque<Expr>& answers)
      : order_(order), newest_(answers.front()) {
    const double a = sigmas[i];
    const double h = std::log(a / sigmas[i + 1]);
    b_ = variant == Variant::kBh1 ? -h : std::expm1(-h);
    base_ = move(x, newest_, sigmas[i + 1] / a);
    std::vector<double> ratios;
    for (std::size_t j = 1; j < order; ++j) {
      ratios.push_back(std::log(a / sigmas[i - j]) / h);
      slopes_.push_back((answers[j] - newest_) / ratios.back());
    }
    ratios.push_back(1.0);
    double factorial = 1.0;
    for (std::size_t k = 0; k < order; ++k) {
      std::vector<double>& row = matrix_.emplace_back();
      for (const double ratio : ratios) row.push_back(std::pow(ratio, static_cast<double>(k)));
      factorial *= static_cast<double>(k + 1);
      rhs_.push_back(-h * phi(static_cast<int>(k) + 2, -h) * factorial / b_);
    }
  }

  [[nodiscard]] Expr predict() const {
    if (order_ == 1) return base_;
    if (order_ == 2) return along({0.5}, slopes_);
    std::vector<std::vector<double>> matrix(matrix_.begin(), matrix_.end() - 1);
    for (std::vector<double>& row : matrix) row.pop_back();
    return along(solve(matrix, {rhs_.begin(), rhs_.end() - 1}), slopes_);
  }

  /// `answer`: the denoised prediction.
  [[nodiscard]] Expr correct(const Expr& answer) const {
    std::vector<Expr> slopes = slopes_;
    slopes.push_back(answer - newest_);
    return along(order_ == 1 ? std::vector<double>{0.5} : solve(matrix_, rhs_), slopes);
  }

 private:
  [[nodiscard]] Expr along(const std::vector<double>& weights,
                           const std::vector<Expr>& slopes) const {
    Expr x = base_;
    for (std::size_t j = 0; j < slopes.size(); ++j) x += -b_ * weights[j] * slopes[j];
    return x;
  }

  std::size_t order_;
  Expr newest_;
  double b_ = 0;
  Expr base_;
  std::vector<Expr> slopes_;  // From the newest answer to each earlier one.
  std::vector<std::vector<double>> matrix_;
  std::vector<double> rhs_;
};

/// Data prediction on ln sigma, for flows too; the last step is of order 1 and has no corrector.
Expr predict_and_correct(const Run& run, Expr x, Variant variant) {
  std::vector<double> sigmas(run.sigmas.begin(), run.sigmas.end());
  if (sigmas.back() == 0.0) sigmas.back() = kStandsForZero;
  const std::size_t n = run.steps();
  if (n == 1) {  // ComfyUI makes no step then, and leaves its own scaling behind.
    run.trace.denoise(x, sigmas[0], 0);
    return std::sqrt((1.0 + sigmas[1] * sigmas[1]) / (1.0 + sigmas[0] * sigmas[0])) * x;
  }
  const std::size_t order = std::min(kHighestOrder, n - 1);
  std::deque<Expr> answers{run.trace.denoise(x, sigmas[0], 0)};  // Newest first.
  for (std::size_t i = 0; i < n; ++i) {
    const UnifiedStep step(sigmas, i, std::min({order, i + 1, n - i}), variant, x, answers);
    x = step.predict();
    if (i + 1 == n) break;
    const Expr answer = run.trace.denoise(x, sigmas[i + 1], static_cast<int>(i) + 1);
    x = step.correct(answer);
    run.trace.keep(x);
    answers.push_front(answer);
    if (answers.size() > order) answers.pop_back();
  }
  return x;
}

}  // namespace

Expr uni_pc(const Run& run, Expr x) {
  return predict_and_correct(run, std::move(x), Variant::kBh1);
}

Expr uni_pc_bh2(const Run& run, Expr x) {
  return predict_and_correct(run, std::move(x), Variant::kBh2);
}

}  // namespace pa
