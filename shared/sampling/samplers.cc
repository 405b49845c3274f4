#include "shared/sampling/samplers.h"

#include <algorithm>
#include <cmath>

#include "shared/core/nearest.h"
#include "shared/sampling/catalogue.h"

namespace pa {
namespace {

constexpr double kLowestOfUniPc = 0.001;  // What ComfyUI's puts in the place of sigma 0.

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

std::string listed(const std::vector<std::string>& choices) {
  std::string text;
  for (const std::string& choice : choices) {
    if (!text.empty()) text += &choice == &choices.back() ? " or " : ", ";
    text += "'" + choice + "'";
  }
  return text;
}

/// Whether a value is of the option's type and in its range.
Status check_option(const OptionRule& option, const OptionValue& value, const std::string& field) {
  if (value.index() != option.fallback.index()) {
    return invalid("expected " + std::string(type_of(option.fallback)) + ", found " +
                       std::string(type_of(value)),
                   field);
  }
  if (const double* const number = std::get_if<double>(&value)) {
    const bool in_range = *number >= option.min && *number <= option.max;
    if (!in_range || (option.whole && *number != std::floor(*number))) {
      return invalid("expected a " + std::string(option.whole ? "whole " : "") + "number from " +
                         shown(option.min) + " to " + shown(option.max) + ", found " +
                         shown(*number),
                     field);
    }
  }
  if (const auto* const text = std::get_if<std::string>(&value)) {
    const std::vector<std::string>& choices = option.choices;
    if (std::find(choices.begin(), choices.end(), *text) == choices.end()) {
      return invalid("expected " + listed(choices) + ", found '" + *text + "'", field);
    }
  }
  return {};
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
    const auto option =
        std::find_if(rule.options.begin(), rule.options.end(),
                     [&wanted = name](const OptionRule& o) { return o.name == wanted; });
    if (option == rule.options.end()) {
      return invalid(
          "the sampler '" + rule.name + "' has no option '" + name + "'" + suggestion(name, names),
          field);
    }
    PA_TRY(check_option(*option, value, field));
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

Error unknown_sampler(const std::string& name) {
  for (const RefusedSampler& refused : refused_samplers()) {
    if (refused.name == name) {
      return invalid("the sampler '" + name + "' cannot be had: " + refused.reason,
                     "/sampler/name");
    }
  }
  return invalid("there is no sampler '" + name + "'" + suggestion(name, sampler_names()),
                 "/sampler/name");
}

}  // namespace

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
  return rule != nullptr && rule->is(kDropsPenultimate);
}

Result<Program> compile(const SamplerSpec& sampler, std::span<const float> sigmas,
                        const Prediction& prediction) {
  const SamplerRule* const rule = find(sampler.name);
  if (rule == nullptr) return unknown_sampler(sampler.name);
  PA_ASSIGN(const OptionValues options, options_of(*rule, sampler.options));
  PA_ASSIGN(const std::vector<double> levels, checked(sigmas));
  Trace trace;
  Expr x = rule->function(Run{trace, prediction, levels, options}, trace.start());
  const bool stops_short = levels.back() == 0.0 && rule->is(kEndsAboveZero);
  Result<Program> program =
      std::move(trace).finish(x, stops_short ? kLowestOfUniPc : levels.back());
  if (!program.ok()) return invalid(program.error().message, "/sigmas");
  program->noise_origin = rule->is(kBrownianTree)     ? NoiseOrigin::kBrownian
                          : rule->is(kContinuesStart) ? NoiseOrigin::kStart
                                                      : NoiseOrigin::kSampler;
  program->sigma_max = levels.front();
  program->sigma_min = levels.back() > 0.0 ? levels.back() : levels[levels.size() - 2];
  return program;
}

}  // namespace pa
