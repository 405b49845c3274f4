#include "shared/sampling/schedules.h"

#include <algorithm>
#include <cmath>

#include "shared/core/nearest.h"

namespace pa {
namespace {

constexpr int kMaxSteps = 10000;
constexpr double kNotZero = 1e-5;  // Sigmas below count as zero already.

/// torch.linspace in float32: from both ends towards the middle.
std::vector<float> linspace(float first, float last, int count) {
  std::vector<float> values(static_cast<std::size_t>(count), first);
  if (count == 1) return values;
  const float step = (last - first) / static_cast<float>(count - 1);
  for (int i = 0; i < count; ++i) {
    values[static_cast<std::size_t>(i)] = i < count / 2
                                              ? first + step * static_cast<float>(i)
                                              : last - step * static_cast<float>(count - 1 - i);
  }
  return values;
}

std::vector<float> simple(const SigmaTable& table, int steps) {
  const std::span<const float> sigmas = table.sigmas();
  const double stride = static_cast<double>(sigmas.size()) / steps;
  std::vector<float> out;
  for (int i = 0; i < steps; ++i) {
    out.push_back(sigmas[sigmas.size() - 1 - static_cast<std::size_t>(i * stride)]);
  }
  out.push_back(0.0F);
  return out;
}

std::vector<float> sgm_uniform(const SigmaTable& table, int steps) {
  std::vector<float> out = linspace(table.timestep_of(table.sigma_max()),
                                    table.timestep_of(table.sigma_min()), steps + 1);
  for (float& t : out) t = table.sigma_of(t);
  out.back() = 0.0F;
  return out;
}

std::vector<float> normal(const SigmaTable& table, int steps) {
  const float end = table.timestep_of(table.sigma_min());
  const bool reaches_zero = table.sigma_of(end) <= kNotZero;
  std::vector<float> out =
      linspace(table.timestep_of(table.sigma_max()), end, reaches_zero ? steps + 1 : steps);
  for (float& t : out) t = table.sigma_of(t);
  if (!reaches_zero) out.push_back(0.0F);
  return out;
}

std::vector<float> ddim_uniform(const SigmaTable& table, int steps) {
  const std::span<const float> sigmas = table.sigmas();
  const bool reaches_zero = sigmas[1] <= kNotZero;
  std::vector<float> out;
  if (!reaches_zero) out.push_back(0.0F);
  const std::size_t points = static_cast<std::size_t>(reaches_zero ? steps + 1 : steps);
  const std::size_t stride = std::max<std::size_t>(sigmas.size() / points, 1);
  for (std::size_t i = 1; i < sigmas.size(); i += stride) out.push_back(sigmas[i]);
  std::reverse(out.begin(), out.end());
  return out;
}

// Karras et al. 2022, equation 5, rho = 7.
std::vector<float> karras(const SigmaTable& table, int steps) {
  constexpr double kRho = 7.0;
  const double low = std::pow(double{table.sigma_min()}, 1.0 / kRho);
  const double high = std::pow(double{table.sigma_max()}, 1.0 / kRho);
  std::vector<float> out = linspace(0.0F, 1.0F, steps);
  for (float& r : out) {
    r = std::pow(static_cast<float>(high) + r * static_cast<float>(low - high), float{kRho});
  }
  out.push_back(0.0F);
  return out;
}

std::vector<float> exponential(const SigmaTable& table, int steps) {
  std::vector<float> out = linspace(static_cast<float>(std::log(double{table.sigma_max()})),
                                    static_cast<float>(std::log(double{table.sigma_min()})), steps);
  for (float& t : out) t = std::exp(t);
  out.push_back(0.0F);
  return out;
}

// Align Your Steps, theorem 3.1 (Sabour et al. 2024). Undefined for one step.
std::vector<float> kl_optimal(const SigmaTable& table, int steps) {
  const auto low = static_cast<float>(std::atan(double{table.sigma_min()}));
  const auto high = static_cast<float>(std::atan(double{table.sigma_max()}));
  std::vector<float> out;
  for (int i = 0; i < steps; ++i) {
    const float r = static_cast<float>(i) / static_cast<float>(steps - 1);
    out.push_back(std::tan(r * low + (1.0F - r) * high));
  }
  out.push_back(0.0F);
  return out;
}

// From Mochi: linear up to 2.5% of the way, then quadratic.
std::vector<float> linear_quadratic(const SigmaTable& table, int steps) {
  const double sigma_max = double{table.sigma_max()};
  std::vector<float> out;
  if (steps == 1) return {table.sigma_max(), 0.0F};
  constexpr double kThreshold = 0.025;
  const int linear = steps / 2;
  const int quadratic = steps - linear;
  const double difference = linear - kThreshold * steps;
  const double a = difference / (static_cast<double>(linear) * quadratic * quadratic);
  const double b = kThreshold / linear - 2.0 * difference / (1.0 * quadratic * quadratic);
  const double c = a * linear * linear;
  for (int i = 0; i < steps; ++i) {
    const double y = i < linear ? i * kThreshold / linear : a * i * i + b * i + c;
    out.push_back(static_cast<float>(1.0 - y) * static_cast<float>(sigma_max));
  }
  out.push_back(0.0F);
  return out;
}

/// Regularised incomplete beta function I_x(a, a) by its continued fraction (Lentz's method).
double incomplete_beta(double x, double a) {
  if (x <= 0.0 || x >= 1.0) return x <= 0.0 ? 0.0 : 1.0;
  if (x > 0.5) return 1.0 - incomplete_beta(1.0 - x, a);
  const double front =
      std::exp(std::lgamma(2.0 * a) - 2.0 * std::lgamma(a) + a * std::log(x) + a * std::log1p(-x));
  constexpr double kTiny = 1e-300;
  double c = 1.0;
  double d = 1.0 / (1.0 - 2.0 * a * x / (a + 1.0));
  double fraction = d;
  for (int m = 1; m < 300; ++m) {
    const double even = m * (a - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
    const double odd = -(a + m) * (2.0 * a + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
    double step = 1.0;
    for (const double term : {even, odd}) {
      d = 1.0 / (1.0 + term * d + kTiny);
      c = 1.0 + term / c;
      step = c * d;
      fraction *= step;
    }
    if (std::abs(step - 1.0) < 1e-16) break;
  }
  return front * fraction / a;
}

double inverse_incomplete_beta(double p, double a) {
  double low = 0.0;
  double high = 1.0;
  for (int i = 0; i < 200 && low < high; ++i) {
    const double middle = 0.5 * (low + high);
    (incomplete_beta(middle, a) < p ? low : high) = middle;
  }
  return 0.5 * (low + high);
}

// Lee et al. 2024 (arXiv 2407.12173), both parameters 0.6.
std::vector<float> beta(const SigmaTable& table, int steps) {
  const std::span<const float> sigmas = table.sigmas();
  std::vector<float> out;
  double before = -1.0;
  for (int i = 0; i < steps; ++i) {
    const double p = 1.0 - static_cast<double>(i) / steps;
    const double at =
        std::nearbyint(inverse_incomplete_beta(p, 0.6) * static_cast<double>(sigmas.size() - 1));
    if (at != before) out.push_back(sigmas[static_cast<std::size_t>(at)]);
    before = at;
  }
  out.push_back(0.0F);
  return out;
}

using ScheduleFunction = std::vector<float> (*)(const SigmaTable&, int steps);
struct ScheduleRule {
  std::string name;
  ScheduleFunction function;
};

const std::vector<ScheduleRule>& catalogue() {
  static const std::vector<ScheduleRule> kCatalogue{
      {"simple", simple},
      {"sgm_uniform", sgm_uniform},
      {"normal", normal},
      {"ddim_uniform", ddim_uniform},
      {"karras", karras},
      {"exponential", exponential},
      {"beta", beta},
      {"kl_optimal", kl_optimal},
      {"linear_quadratic", linear_quadratic},
  };
  return kCatalogue;
}

}  // namespace

const std::vector<std::string>& schedule_names() {
  static const std::vector<std::string> kNames = [] {
    std::vector<std::string> names;
    for (const ScheduleRule& rule : catalogue()) names.push_back(rule.name);
    return names;
  }();
  return kNames;
}

Result<std::vector<float>> schedule(const ScheduleSpec& spec, const SigmaTable& table,
                                    bool discard_penultimate) {
  const auto rule = std::find_if(catalogue().begin(), catalogue().end(),
                                 [&](const ScheduleRule& r) { return r.name == spec.name; });
  if (rule == catalogue().end()) {
    return invalid(
        "there is no schedule '" + spec.name + "'" + suggestion(spec.name, schedule_names()),
        "/schedule/name");
  }
  if (spec.steps < 1 || spec.steps > kMaxSteps) {
    return invalid("expected from 1 to " + std::to_string(kMaxSteps) + " steps, found " +
                       std::to_string(spec.steps),
                   "/schedule/steps");
  }
  if (!(spec.denoise > 0.0 && spec.denoise <= 1.0)) {
    return invalid("expected more than 0 and at most 1", "/schedule/denoise");
  }

  const bool whole = spec.denoise > 0.9999;
  const double total = whole ? spec.steps : std::floor(spec.steps / spec.denoise);
  if (total > kMaxSteps) {
    return invalid("steps / denoise is " + std::to_string(total) + "; expected at most " +
                       std::to_string(kMaxSteps),
                   "/schedule/denoise");
  }
  std::vector<float> sigmas =
      rule->function(table, static_cast<int>(total) + (discard_penultimate ? 1 : 0));
  if (discard_penultimate && sigmas.size() >= 2) sigmas.erase(sigmas.end() - 2);
  const auto kept = static_cast<std::size_t>(spec.steps) + 1;
  if (!whole && sigmas.size() > kept) {
    sigmas.erase(sigmas.begin(), sigmas.end() - static_cast<std::ptrdiff_t>(kept));
  }

  for (std::size_t i = 0; i < sigmas.size(); ++i) {
    const bool falls = i == 0 || sigmas[i] < sigmas[i - 1];
    if (!std::isfinite(sigmas[i]) || !falls) {
      return invalid("the schedule '" + spec.name + "' has no " + std::to_string(spec.steps) +
                         " steps of their own for this model, whose table has " +
                         std::to_string(table.sigmas().size()) + " noise levels",
                     "/schedule/steps");
    }
  }
  if (sigmas.size() < 2) {
    return invalid("the schedule '" + spec.name + "' has no step left", "/schedule/steps");
  }
  return sigmas;
}

}  // namespace pa
