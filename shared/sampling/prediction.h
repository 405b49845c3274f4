#pragma once

#include <cmath>
#include <functional>
#include <utility>

namespace pa {

/// How x mixes data and noise at each sigma, as far as samplers care:
/// x = alpha * data + sigma * noise, with alpha = 1 (variance exploding: "eps", "v", "edm") or
/// alpha = 1 - sigma ("flow").
class Prediction {
 public:
  /// `percent_to_sigma` maps how much of the schedule is over, 0 to 1, to a sigma; not null.
  Prediction(bool flow, std::function<double(double)> percent_to_sigma)
      : flow_(flow), percent_to_sigma_(std::move(percent_to_sigma)) {}

  [[nodiscard]] bool flow() const { return flow_; }
  [[nodiscard]] double alpha(double sigma) const { return flow_ ? 1.0 - sigma : 1.0; }
  [[nodiscard]] double percent_to_sigma(double percent) const { return percent_to_sigma_(percent); }

  /// Half the logarithm of the signal-to-noise ratio, ln(alpha / sigma): rises while sampling.
  /// Infinite at sigma 0, and on flows at sigma 1.
  [[nodiscard]] double lambda(double sigma) const { return std::log(alpha(sigma) / sigma); }
  /// The inverse of lambda().
  [[nodiscard]] double sigma_at(double lambda) const {
    return flow_ ? 1.0 / (1.0 + std::exp(lambda)) : std::exp(-lambda);
  }

 private:
  bool flow_;
  std::function<double(double)> percent_to_sigma_;
};

}  // namespace pa
