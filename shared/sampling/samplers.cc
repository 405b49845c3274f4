#include "shared/sampling/samplers.h"

#include <cmath>

#include "shared/core/nearest.h"
#include "shared/sampling/catalogue.h"

namespace pa {
namespace {

const std::vector<SamplerRule>& catalogue() {
  static const std::vector<SamplerRule> kCatalogue{
      {"euler", euler, churn_options()},
      {"ddim", euler, churn_options()},
      {"heun", heun, churn_options()},
      {"heunpp2", heunpp2, churn_options()},
      {"dpm_2", dpm_2, churn_options(), /*discards_penultimate_sigma=*/true},
      {"dpmpp_2m", dpmpp_2m, {}},
      {"res_multistep", res_multistep, {}},
      {"gradient_estimation", gradient_estimation, {{"ge_gamma", 2.0, -1e3, 1e3}}},
      {"ipndm", ipndm, {{"max_order", 4.0, 1, 4, /*whole=*/true}}},
  };
  return kCatalogue;
}

const SamplerRule* find(const std::string& name) {
  for (const SamplerRule& rule : catalogue()) {
    if (rule.name == name) return &rule;
  }
  return nullptr;
}

std::string_view type_of(const OptionValue& value) {
  static constexpr std::string_view kTypes[] = {"a boolean", "a number", "a string"};
  return kTypes[value.index()];
}

std::string shown(double number) {
  std::string text = std::to_string(number);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text;
}

Result<OptionValues> options_of(const SamplerRule& rule,
                                const std::map<std::string, OptionValue>& given) {
  std::map<std::string, OptionValue> values;
  std::vector<std::string> names;
  for (const OptionRule& option : rule.options) {
    values.emplace(option.name, option.fallback);
    names.push_back(option.name);
  }
  for (const auto& [name, value] : given) {
    const std::string field = "/sampler/options/" + name;
    if (!values.contains(name)) {
      return invalid(
          "the sampler '" + rule.name + "' has no option '" + name + "'" + suggestion(name, names),
          field);
    }
    for (const OptionRule& option : rule.options) {
      if (option.name != name) continue;
      if (value.index() != option.fallback.index()) {
        return invalid("expected " + std::string(type_of(option.fallback)) + ", found " +
                           std::string(type_of(value)),
                       field);
      }
      if (const double* number = std::get_if<double>(&value)) {
        const bool in_range = *number >= option.min && *number <= option.max;
        if (!in_range || (option.whole && *number != std::floor(*number))) {
          return invalid("expected a " + std::string(option.whole ? "whole " : "") +
                             "number from " + shown(option.min) + " to " + shown(option.max) +
                             ", found " + shown(*number),
                         field);
        }
      }
    }
    values[name] = value;
  }
  return OptionValues(std::move(values));
}

Result<std::vector<double>> checked(std::span<const float> sigmas) {
  if (sigmas.size() < 2) {
    return invalid("expected at least two sigmas, found " + std::to_string(sigmas.size()),
                   "/sigmas");
  }
  for (std::size_t i = 0; i < sigmas.size(); ++i) {
    const std::string field = "/sigmas/" + std::to_string(i);
    if (!std::isfinite(sigmas[i]) || sigmas[i] < 0.0F) {
      return invalid("expected a finite sigma that is not negative", field);
    }
    if (i > 0 && sigmas[i] >= sigmas[i - 1]) {
      return invalid("sigmas must fall: expected less than " + std::to_string(sigmas[i - 1]) +
                         ", found " + std::to_string(sigmas[i]),
                     field);
    }
  }
  return std::vector<double>(sigmas.begin(), sigmas.end());
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

const std::vector<std::string>& sampler_names() {
  static const std::vector<std::string> kNames = [] {
    std::vector<std::string> names;
    for (const SamplerRule& rule : catalogue()) names.push_back(rule.name);
    return names;
  }();
  return kNames;
}

bool discards_penultimate_sigma(const std::string& sampler) {
  const SamplerRule* const rule = find(sampler);
  return rule != nullptr && rule->discards_penultimate_sigma;
}

Result<Program> compile(const SamplerSpec& sampler, std::span<const float> sigmas,
                        const Prediction& prediction) {
  const SamplerRule* const rule = find(sampler.name);
  if (rule == nullptr) {
    return invalid(
        "there is no sampler '" + sampler.name + "'" + suggestion(sampler.name, sampler_names()),
        "/sampler/name");
  }
  PA_ASSIGN(const OptionValues options, options_of(*rule, sampler.options));
  PA_ASSIGN(const std::vector<double> levels, checked(sigmas));
  Trace trace;
  Expr x = rule->function(Run{trace, prediction, levels, options}, trace.start());
  Result<Program> program = std::move(trace).finish(x, levels.back());
  if (!program.ok()) return invalid(program.error().message, "/sigmas");
  return program;
}

}  // namespace pa
