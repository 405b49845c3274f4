#include "shared/sampling/sigma_table.h"

#include <algorithm>
#include <cmath>

namespace pa {
namespace {

constexpr int kFlowEntries = 1000;
constexpr int kFluxEntries = 10000;
constexpr int kDiscreteEntries = 1000;

float shifted(double shift, float t) {
  if (shift == 1.0) return t;
  return static_cast<float>(shift) * t / (1.0F + static_cast<float>(shift - 1.0) * t);
}

float flux_shifted(double mu, float t) {
  const auto scale = static_cast<float>(std::exp(mu));
  return 1.0F / (scale + (1.0F / t - 1.0F)) * scale;
}

}  // namespace

Result<SigmaTable> SigmaTable::make(const SamplingInfo& info) {
  const bool flow = info.type == "flow" || info.type == "flux";
  if (!flow && info.type != "discrete") {
    return invalid("expected sigmas of type flow, flux or discrete, found '" + info.type + "'",
                   "/model_sampling");
  }
  const bool known = info.prediction == "flow" || info.prediction == "eps" ||
                     info.prediction == "v" || info.prediction == "edm";
  if (!known || flow != (info.prediction == "flow")) {
    return invalid("expected prediction " + std::string(flow ? "flow" : "eps, v or edm") +
                       " for sigmas of type " + info.type + ", found '" + info.prediction + "'",
                   "/model_sampling/prediction");
  }
  if (!(info.multiplier > 0.0) || (info.type == "flow" && !(info.shift > 0.0))) {
    return invalid("expected a positive shift and multiplier", "/model_sampling");
  }

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
  } else {
    // Scaled-linear betas, in float64: linspace(sqrt(0.00085), sqrt(0.012), 1000)^2.
    const double first = std::sqrt(0.00085);
    const double last = std::sqrt(0.012);
    double cumulative = 1.0;
    for (int i = 0; i < kDiscreteEntries; ++i) {
      const double root = first + (last - first) * i / (kDiscreteEntries - 1);
      cumulative *= 1.0 - root * root;
      table.sigmas_.push_back(static_cast<float>(std::sqrt((1.0 - cumulative) / cumulative)));
      table.log_sigmas_.push_back(std::log(table.sigmas_.back()));
    }
  }
  return table;
}

float SigmaTable::sigma_of(float timestep) const {
  if (info_.type == "flux") return flux_shifted(info_.shift, timestep);
  if (!discrete()) return shifted(info_.shift, timestep / static_cast<float>(info_.multiplier));
  const float t = std::clamp(timestep, 0.0F, float{kDiscreteEntries - 1});
  const auto low = static_cast<std::size_t>(std::floor(t));
  const auto high = static_cast<std::size_t>(std::ceil(t));
  const float w = t - std::floor(t);
  return std::exp((1.0F - w) * log_sigmas_[low] + w * log_sigmas_[high]);
}

float SigmaTable::timestep_of(float sigma) const {
  if (info_.type == "flux") return sigma;
  if (!discrete()) return sigma * static_cast<float>(info_.multiplier);
  const float log_sigma = std::log(sigma);
  const auto nearest = std::min_element(
      log_sigmas_.begin(), log_sigmas_.end(),
      [&](float a, float b) { return std::abs(log_sigma - a) < std::abs(log_sigma - b); });
  return static_cast<float>(nearest - log_sigmas_.begin());
}

double SigmaTable::percent_to_sigma(double percent) const {
  if (percent <= 0.0) return discrete() ? 999999999.9 : 1.0;
  if (percent >= 1.0) return 0.0;
  const double t = 1.0 - percent;
  if (info_.type == "flux") {
    return std::exp(info_.shift) / (std::exp(info_.shift) + (1.0 / t - 1.0));
  }
  if (!discrete()) return info_.shift * t / (1.0 + (info_.shift - 1.0) * t);
  return double{sigma_of(static_cast<float>(t * 999.0))};
}

}  // namespace pa
