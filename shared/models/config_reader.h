#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "shared/io/yaml.h"
#include "shared/models/weight_index.h"

namespace pa {

/// Finds a network's sizes: in its weights' shapes, and in what model.yaml says under `config`, where
/// names are those of ComfyUI's constructors.
///
/// What the weights tell may be repeated in model.yaml, and must agree. Mistakes there are noted in
/// its file; what the weights lack is told by status().
class ConfigReader {
 public:
  /// `keys` are all that model.yaml may say; some have no effect here.
  ConfigReader(const WeightIndex& weights, std::string_view family, YamlMap config,
               std::initializer_list<std::string_view> keys);

  /// Dimension `axis` of the first of `names` that is there; notes a mistake and gives 0 if none is.
  std::int64_t size(const std::vector<std::string>& names, std::size_t axis);

  /// What the weights tell: model.yaml must not say otherwise.
  void known(std::string_view key, std::int64_t value);
  void known(std::string_view key, const std::vector<std::int64_t>& value);
  void known(std::string_view key, bool value);
  /// As known(), within 1e-9 of `value`.
  void known_ratio(std::string_view key, double value);

  /// What only model.yaml can tell: `value` is what holds without it.
  void free(std::string_view key, std::int64_t& value, YamlRange<std::int64_t> range);
  void free(std::string_view key, double& value, YamlRange<double> range);
  void free(std::string_view key, std::vector<std::int64_t>& value);

  /// Notes that the weights cannot be right. The first one is told.
  void fail(std::string message);

  /// kInvalid with the first thing that the weights lack.
  [[nodiscard]] Status status() const { return status_; }

 private:
  const WeightIndex& weights_;
  std::string family_;
  YamlMap config_;
  Status status_;
};

}  // namespace pa
