#include "shared/models/config_reader.h"

#include <cmath>

#include "shared/core/nearest.h"

namespace pa {
namespace {

constexpr YamlRange<std::int64_t> kAnyInteger{-2, std::int64_t{1} << 40};

void contradict(const YamlValue& value, const std::string& found) {
  value.reject("the weights say " + found);
}

}  // namespace

ConfigReader::ConfigReader(const WeightIndex& weights, std::string_view family, YamlMap config,
                           std::initializer_list<std::string_view> keys)
    : weights_(weights), family_(family), config_(config) {
  for (const std::string_view key : keys) (void)config_.find(key);
}

std::int64_t ConfigReader::size(const std::vector<std::string>& names, std::size_t axis) {
  for (const std::string& name : names) {
    if (!weights_.has(name)) continue;
    const std::int64_t value = weights_.size(name, axis);
    if (value >= 1) return value;
    fail("tensor '" + name + "' has no axis " + std::to_string(axis) + "; a " + family_ +
         " network needs it");
    return 0;
  }
  std::vector<std::string> there;
  for (const auto& entry : weights_.tensors()) there.push_back(entry.first);
  const std::string_view near = nearest(names.front(), there);
  fail("tensor '" + names.front() + "' is missing; a " + family_ + " network needs it" +
       (near.empty() ? "" : "; the nearest is '" + std::string(near) + "'"));
  return 0;
}

void ConfigReader::known(std::string_view key, std::int64_t value) {
  const std::optional<YamlValue> given = config_.find(key);
  if (!given) return;
  const std::optional<std::int64_t> number = given->integer(kAnyInteger);
  if (number && *number != value) contradict(*given, std::to_string(value));
}

void ConfigReader::known(std::string_view key, const std::vector<std::int64_t>& value) {
  const std::optional<YamlValue> given = config_.find(key);
  if (!given) return;
  Shape numbers;
  for (const YamlValue& element : given->list()) {
    numbers.push_back(element.integer(kAnyInteger).value_or(-1));
  }
  if (numbers != value) contradict(*given, to_string(value));
}

void ConfigReader::known(std::string_view key, bool value) {
  const std::optional<YamlValue> given = config_.find(key);
  if (!given) return;
  const std::optional<bool> flag = given->boolean();
  if (flag && *flag != value) contradict(*given, value ? "true" : "false");
}

void ConfigReader::known_ratio(std::string_view key, double value) {
  const std::optional<YamlValue> given = config_.find(key);
  if (!given) return;
  const std::optional<double> number = given->number();
  if (number && std::abs(*number - value) > 1e-9 * std::abs(value)) {
    contradict(*given, std::to_string(value));
  }
}

void ConfigReader::free(std::string_view key, std::int64_t& value, YamlRange<std::int64_t> range) {
  config_.read_integer(key, value, range);
}

void ConfigReader::free(std::string_view key, double& value, YamlRange<double> range) {
  config_.read_number(key, value, range);
}

void ConfigReader::free(std::string_view key, std::vector<std::int64_t>& value) {
  const std::optional<YamlValue> given = config_.find(key);
  if (!given) return;
  value.clear();
  for (const YamlValue& element : given->list()) {
    value.push_back(element.integer({0, 1 << 20}).value_or(0));
  }
}

void ConfigReader::fail(std::string message) {
  if (status_.ok()) status_ = invalid(std::move(message));
}

}  // namespace pa
