#include "shared/models/analytic_denoiser.h"

#include <array>
#include <optional>
#include <string>
#include <string_view>

namespace pa {
namespace {

constexpr std::size_t kMaxComponents = 64;

std::vector<double> read_numbers(YamlMap& map, std::string_view key, YamlRange<double> range) {
  std::vector<double> numbers;
  const std::optional<YamlValue> list = map.find(key);
  if (!list) {
    map.reject("expected '" + std::string(key) + "', a list of numbers");
    return numbers;
  }
  for (const YamlValue& value : list->list()) {
    if (numbers.size() == kMaxComponents) {
      value.reject("expected at most " + std::to_string(kMaxComponents) + " components");
      break;
    }
    numbers.push_back(value.number(range).value_or(0.0));
  }
  return numbers;
}

}  // namespace

AnalyticDenoiser read_analytic_denoiser(YamlMap denoiser) {
  static constexpr std::array<std::string_view, 2> kKinds{"gauss", "mix"};
  static constexpr YamlRange<double> kVariance{1e-9, 1e9};
  AnalyticDenoiser out;
  const std::optional<YamlValue> kind = denoiser.find("kind");
  if (!kind) {
    denoiser.reject("expected 'kind', one of gauss, mix");
    return out;
  }
  const std::optional<std::size_t> index = kind->choice(kKinds);
  if (!index) return out;
  if (*index == 0) {
    double variance = 0;
    if (!denoiser.find("var")) denoiser.reject("expected 'var', the variance");
    denoiser.read_number("var", variance, kVariance);
    return {{1.0}, {0.0}, {variance}};
  }
  out.weights = read_numbers(denoiser, "weights", {1e-9, 1e9});
  out.centres = read_numbers(denoiser, "centres", {-1e9, 1e9});
  out.variances = read_numbers(denoiser, "vars", kVariance);
  if (out.weights.empty() || out.weights.size() != out.centres.size() ||
      out.weights.size() != out.variances.size()) {
    denoiser.reject("expected as many weights as centres and vars, and at least one");
  }
  return out;
}

}  // namespace pa
