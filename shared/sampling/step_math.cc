#include "shared/sampling/step_math.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <utility>

namespace pa {
namespace {

constexpr std::size_t kGaussPoints = 24;

struct GaussRule {
  std::array<double, kGaussPoints> points{};
  std::array<double, kGaussPoints> weights{};
};

/// Roots of the Legendre polynomial by Newton's method, from Chebyshev's guess.
GaussRule make_gauss_rule() {
  GaussRule rule;
  const auto n = static_cast<double>(kGaussPoints);
  for (std::size_t i = 0; i < kGaussPoints; ++i) {
    double x = std::cos(std::numbers::pi * (static_cast<double>(i) + 0.75) / (n + 0.5));
    double slope = 1.0;
    for (int round = 0; round < 100; ++round) {
      double before = 1.0;
      double value = x;
      for (std::size_t k = 2; k <= kGaussPoints; ++k) {
        const auto order = static_cast<double>(k);
        const double next = ((2.0 * order - 1.0) * x * value - (order - 1.0) * before) / order;
        before = std::exchange(value, next);
      }
      slope = n * (x * value - before) / (x * x - 1.0);
      const double step = value / slope;
      x -= step;
      if (std::abs(step) < 1e-16) break;
    }
    rule.points[i] = x;
    rule.weights[i] = 2.0 / ((1.0 - x * x) * slope * slope);
  }
  return rule;
}

const GaussRule& gauss_rule() {
  static const GaussRule kRule = make_gauss_rule();
  return kRule;
}

}  // namespace

double phi(int k, double x) {
  double factorial = 1.0;  // Of k - 1.
  for (int j = 2; j < k; ++j) factorial *= j;
  if (std::abs(x) < 0.5) {  // Cancels badly there; the series of 16 terms is exact to rounding.
    double term = 1.0 / (factorial * k);
    double sum = 0.0;
    for (int j = 0; j < 16; ++j) {
      sum += term;
      term *= x / (j + 1 + k);
    }
    return sum;
  }
  return k == 1 ? std::expm1(x) / x : (phi(k - 1, x) - 1.0 / factorial) / x;
}

AncestralSplit ancestral_split(double a, double b, double eta) {
  if (eta == 0.0) return {b, 1.0, 0.0};
  const double up = std::isinf(a) ? b : std::min(b, eta * b * std::sqrt(a * a - b * b) / a);
  return {std::sqrt(b * b - up * up), 1.0, up};
}

AncestralSplit ancestral_split(const Prediction& prediction, double a, double b, double eta) {
  if (!prediction.flow()) return ancestral_split(a, b, eta);
  AncestralSplit split;
  split.down = b * (1.0 + (b / a - 1.0) * eta);
  split.scale = (1.0 - b) / (1.0 - split.down);
  split.up = std::sqrt(b * b - split.scale * split.down * split.scale * split.down);
  return split;
}

std::vector<double> with_finite_lambda(const Prediction& prediction,
                                       std::span<const double> sigmas) {
  std::vector<double> finite(sigmas.begin(), sigmas.end());
  if (prediction.flow() && finite.front() >= 1.0) {
    finite.front() = double{static_cast<float>(prediction.percent_to_sigma(1e-4))};
  }
  return finite;
}

double lagrange(std::span<const double> nodes, std::size_t j, double u) {
  double value = 1.0;
  for (std::size_t k = 0; k < nodes.size(); ++k) {
    if (k != j) value *= (u - nodes[k]) / (nodes[j] - nodes[k]);
  }
  return value;
}

double integrate(double a, double b, const std::function<double(double)>& f) {
  const GaussRule& gauss = gauss_rule();
  double sum = 0;
  for (std::size_t i = 0; i < kGaussPoints; ++i) {
    sum += gauss.weights[i] * f(0.5 * (a + b) + 0.5 * (b - a) * gauss.points[i]);
  }
  return 0.5 * (b - a) * sum;
}

std::vector<double> adams_weights(std::span<const double> nodes, double a, double b,
                                  const std::function<double(double)>& weight) {
  std::vector<double> weights;
  for (std::size_t j = 0; j < nodes.size(); ++j) {
    weights.push_back(integrate(
        a, b, [&](double u) { return (weight ? weight(u) : 1.0) * lagrange(nodes, j, u); }));
  }
  return weights;
}

std::vector<double> newest(std::span<const double> values, std::size_t i, std::size_t count) {
  std::vector<double> out;
  for (std::size_t j = 0; j < count; ++j) out.push_back(values[i - j]);
  return out;
}

std::vector<double> solve(std::vector<std::vector<double>> matrix, std::vector<double> rhs) {
  const std::size_t n = rhs.size();
  for (std::size_t i = 0; i < n; ++i) {
    std::size_t pivot = i;
    for (std::size_t k = i + 1; k < n; ++k) {
      if (std::abs(matrix[k][i]) > std::abs(matrix[pivot][i])) pivot = k;
    }
    std::swap(matrix[i], matrix[pivot]);
    std::swap(rhs[i], rhs[pivot]);
    for (std::size_t k = i + 1; k < n; ++k) {
      const double factor = matrix[k][i] / matrix[i][i];
      for (std::size_t j = i; j < n; ++j) matrix[k][j] -= factor * matrix[i][j];
      rhs[k] -= factor * rhs[i];
    }
  }
  for (std::size_t i = n; i-- > 0;) {
    for (std::size_t j = i + 1; j < n; ++j) rhs[i] -= matrix[i][j] * rhs[j];
    rhs[i] /= matrix[i][i];
  }
  return rhs;
}

}  // namespace pa
