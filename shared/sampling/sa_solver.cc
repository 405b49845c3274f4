#include <algorithm>
#include <cmath>
#include <deque>
#include <vector>

#include "shared/sampling/catalogue.h"
#include "shared/sampling/step_math.h"

namespace pa {
namespace {

/// Stochastic Adams steps with strength tau: from sigmas[i] to sigmas[i + 1] along the newest answers.
class StochasticAdams {
 public:
  StochasticAdams(const Prediction& prediction, const std::vector<double>& sigmas,
                  bool simple_order_2)
      : prediction_(prediction), sigmas_(sigmas), simple_order_2_(simple_order_2) {
    for (const double sigma : sigmas) lambdas_.push_back(prediction.lambda(sigma));
  }

  /// answers[0] was taken at sigmas[newest_at]; the `count` newest are used.
  [[nodiscard]] Expr step(const Expr& x, std::size_t i, std::size_t newest_at, std::size_t count,
                          double tau, const std::deque<Expr>& answers) const {
    const double h = length(i);
    const double m = 1.0 + tau * tau;
    const std::vector<double> nodes = newest(lambdas_, newest_at, count);
    std::vector<double> weights;
    if (simple_order_2_ && count == 2) {
      const bool corrects = newest_at == i + 1;
      const double first =
          corrects ? m * h / 2.0 : -std::expm1(-m * h) - m * h * h / 2.0 / (nodes[1] - lambdas_[i]);
      weights = {first, -std::expm1(-m * h) - first};
    } else {
      const double end = lambdas_[i + 1];
      weights = adams_weights(nodes, lambdas_[i], end,
                              [&](double u) { return m * std::exp(m * (u - end)); });
    }
    Expr sum = sigmas_[i + 1] / sigmas_[i] * std::exp(-tau * tau * h) * x;
    const double alpha = prediction_.alpha(sigmas_[i + 1]);
    for (std::size_t j = 0; j < count; ++j) sum += alpha * weights[j] * answers[j];
    return sum;
  }

  /// The part of sigmas[i + 1] that is new noise.
  [[nodiscard]] double noise_weight(std::size_t i, double tau) const {
    return sigmas_[i + 1] * std::sqrt(-std::expm1(-2.0 * tau * tau * length(i)));
  }

 private:
  [[nodiscard]] double length(std::size_t i) const { return lambdas_[i + 1] - lambdas_[i]; }

  const Prediction& prediction_;
  const std::vector<double>& sigmas_;
  bool simple_order_2_;
  std::vector<double> lambdas_;
};

/// Predict to the next level, evaluate there, then correct the same step with the new answer, the
/// same tau and the same noise. `pece`: evaluate again after correcting.
Expr predict_and_correct(const Run& run, Expr x, bool pece) {
  const OptionValues& options = run.options;
  const Prediction& prediction = run.prediction;
  const double eta = options.number("eta");
  const double s_noise = options.number("s_noise");
  const std::size_t predictor_order = options.count("predictor_order");
  const std::size_t corrector_order = options.count("corrector_order");
  const double noisy_from = prediction.percent_to_sigma(options.number("sde_start_percent"));
  const double noisy_to = prediction.percent_to_sigma(options.number("sde_end_percent"));
  const std::vector<double> sigmas = with_finite_lambda(prediction, run.sigmas);
  const StochasticAdams adams(prediction, sigmas, options.flag("simple_order_2"));
  const std::size_t n = run.steps();

  Expr predicted = x;  // Evaluated next; x is what it was corrected to.
  Expr noise;
  double tau = 0;
  std::deque<Expr> answers;  // Newest first.
  for (std::size_t i = 0; i < n; ++i) {
    const double a = sigmas[i];
    const double b = sigmas[i + 1];
    answers.push_front(run.trace.denoise(predicted, a, static_cast<int>(i)));
    if (answers.size() > std::max(predictor_order, corrector_order)) answers.pop_back();
    std::size_t correct = std::min(corrector_order, answers.size());
    std::size_t predict = std::min(predictor_order, answers.size());
    if (i == 0 || (b == 0.0 && !pece)) correct = 0;
    if (sigmas.back() == 0.0) {  // Orders fall to what is left.
      correct = std::min(correct, n - i);
      predict = std::min(predict, n - 1 - i);
    }
    if (correct > 0) {
      x = adams.step(x, i - 1, i, correct, tau, answers) + noise;
      run.trace.keep(x);
      if (pece) answers.front() = run.trace.denoise(x, a);
    } else {
      x = predicted;
    }
    if (b == 0.0) return answers.front();
    tau = b <= noisy_from && b >= noisy_to ? eta : 0.0;
    predicted = adams.step(x, i, i, predict, tau, answers);
    noise = Expr();
    if (tau > 0.0 && s_noise > 0.0) {
      noise = adams.noise_weight(i, tau) * s_noise * run.trace.noise(a, b);
      predicted += noise;
    }
  }
  return predicted;
}

}  // namespace

Expr sa_solver(const Run& run, Expr x) {
  return predict_and_correct(run, std::move(x), run.options.flag("use_pece"));
}

Expr sa_solver_pece(const Run& run, Expr x) {
  return predict_and_correct(run, std::move(x), /*pece=*/true);
}

}  // namespace pa
