#include "shared/sampling/sigma_table.h"

#include <algorithm>
#include <cmath>

namespace pa {
namespace {

constexpr int kFlowEntries = 1000;
constexpr int kFluxEntries = 10000;
constexpr int kDiscreteEntries = 1000;
constexpr int kContinuousEntries = 1000;
constexpr double kMostNoise =
    999999999.9;  // Before all of the schedule, where the table has no end.
/// How much of the data is left at the end of a schedule that would leave none; sigma is 4518.76 there.
constexpr double kLastCumulative = 4.8973451890853435e-08;

float shifted(double shift, float t) {
  if (shift == 1.0) return t;
  return static_cast<float>(shift) * t / (1.0F + static_cast<float>(shift - 1.0) * t);
}

float flux_shifted(double mu, float t) {
  const auto scale = static_cast<float>(std::exp(mu));
  return 1.0F / (scale + (1.0F / t - 1.0F)) * scale;
}

/// How much of the data's power is left at each time: products of 1 - beta, where the betas are
/// linspace(sqrt(0.00085), sqrt(0.012), 1000)^2. In float64.
std::vector<double> cumulative_alphas() {
  const double first = std::sqrt(0.00085);
  const double last = std::sqrt(0.012);
  std::vector<double> left;
  double product = 1.0;
  for (int i = 0; i < kDiscreteEntries; ++i) {
    const double root = first + (last - first) * i / (kDiscreteEntries - 1);
    product *= 1.0 - root * root;
    left.push_back(product);
  }
  return left;
}

/// Moved and scaled so that (almost) nothing is left at the end; the start stays. Lin, Liu, Li, Yang
/// 2024 (arXiv 2305.08891), algorithm 1.
void rescale_to_zero_terminal_snr(std::vector<double>& left) {
  const double first = std::sqrt(left.front());
  const double last = std::sqrt(left.back());
  for (double& value : left) {
    const double root = (std::sqrt(value) - last) * (first / (first - last));
    value = root * root;
  }
  left.back() = kLastCumulative;
}

/// exp of torch.linspace in float32 from ln min to ln max, which goes from both ends to the middle.
std::vector<float> log_spaced(double min, double max) {
  const auto low = static_cast<float>(std::log(min));
  const auto high = static_cast<float>(std::log(max));
  const float step = (high - low) / static_cast<float>(kContinuousEntries - 1);
  std::vector<float> values;
  for (int i = 0; i < kContinuousEntries; ++i) {
    const auto up = static_cast<float>(i);
    const auto down = static_cast<float>(kContinuousEntries - 1 - i);
    values.push_back(std::exp(i < kContinuousEntries / 2 ? low + step * up : high - step * down));
  }
  return values;
}

Status check_numbers(const SamplingInfo& info) {
  if (!(info.multiplier > 0.0) || (info.type == "flow" && !(info.shift > 0.0))) {
    return invalid("expected a positive shift and multiplier", "/model_sampling");
  }
  const bool rises = info.sigma_min > 0.0 && info.sigma_min < info.sigma_max;
  if (info.type == "continuous" && !(rises && std::isfinite(info.sigma_max))) {
    return invalid("expected 0 < sigma_min < sigma_max", "/model_sampling");
  }
  if (!(info.sigma_data >= 0.0) || !std::isfinite(info.sigma_data)) {
    return invalid("expected a sigma_data that is not negative", "/model_sampling");
  }
  return {};
}

}  // namespace

Result<SigmaTable> SigmaTable::make(const SamplingInfo& info) {
  const bool flow = info.type == "flow" || info.type == "flux";
  if (!flow && info.type != "discrete" && info.type != "continuous") {
    return invalid(
        "expected sigmas of type flow, flux, discrete or continuous, found '" + info.type + "'",
        "/model_sampling");
  }
  const bool known = info.prediction == "flow" || info.prediction == "eps" ||
                     info.prediction == "v" || info.prediction == "edm";
  if (!known || flow != (info.prediction == "flow")) {
    return invalid("expected prediction " + std::string(flow ? "flow" : "eps, v or edm") +
                       " for sigmas of type " + info.type + ", found '" + info.prediction + "'",
                   "/model_sampling/prediction");
  }
  PA_TRY(check_numbers(info));

  SigmaTable table(info);
  if (info.type == "flux") {
    for (int i = 1; i <= kFluxEntries; ++i) {
      table.sigmas_.push_back(table.sigma_of(static_cast<float>(i) / float{kFluxEntries}));
    }
  } else if (info.type == "flow") {
    for (int i = 1; i <= kFlowEntries; ++i) {
      table.sigmas_.push_back(table.sigma_of(static_cast<float>(i) / float{kFlowEntries} *
                                             static_cast<float>(info.multiplier)));
    }
  } else if (info.type == "continuous") {
    table.sigmas_ = log_spaced(info.sigma_min, info.sigma_max);
  } else {
    std::vector<double> cumulative = cumulative_alphas();
    if (info.zero_terminal_snr) rescale_to_zero_terminal_snr(cumulative);
    for (const double left : cumulative) {
      table.sigmas_.push_back(static_cast<float>(std::sqrt((1.0 - left) / left)));
      table.log_sigmas_.push_back(std::log(table.sigmas_.back()));
    }
  }
  return table;
}

float SigmaTable::sigma_of(float timestep) const {
  if (is("flux")) return flux_shifted(info_.shift, timestep);
  if (is("flow")) return shifted(info_.shift, timestep / static_cast<float>(info_.multiplier));
  if (is("continuous")) return std::exp(timestep / 0.25F);
  const float t = std::clamp(timestep, 0.0F, float{kDiscreteEntries - 1});
  const auto low = static_cast<std::size_t>(std::floor(t));
  const auto high = static_cast<std::size_t>(std::ceil(t));
  const float w = t - std::floor(t);
  return std::exp((1.0F - w) * log_sigmas_[low] + w * log_sigmas_[high]);
}

float SigmaTable::timestep_of(float sigma) const {
  if (is("flux")) return sigma;
  if (is("flow")) return sigma * static_cast<float>(info_.multiplier);
  const float log_sigma = std::log(sigma);
  if (is("continuous")) return 0.25F * log_sigma;
  const auto nearest = std::min_element(
      log_sigmas_.begin(), log_sigmas_.end(),
      [&](float a, float b) { return std::abs(log_sigma - a) < std::abs(log_sigma - b); });
  return static_cast<float>(nearest - log_sigmas_.begin());
}

double SigmaTable::percent_to_sigma(double percent) const {
  if (percent <= 0.0) return info_.prediction == "flow" ? 1.0 : kMostNoise;
  if (percent >= 1.0) return 0.0;
  const double t = 1.0 - percent;
  if (is("flux")) {
    return std::exp(info_.shift) / (std::exp(info_.shift) + (1.0 / t - 1.0));
  }
  if (is("flow")) return info_.shift * t / (1.0 + (info_.shift - 1.0) * t);
  if (is("continuous")) {
    return info_.sigma_min * std::pow(info_.sigma_max / info_.sigma_min, t);
  }
  return double{sigma_of(static_cast<float>(t * 999.0))};
}

}  // namespace pa
