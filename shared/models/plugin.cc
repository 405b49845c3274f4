#include "shared/models/plugin.h"

#include <algorithm>
#include <optional>

namespace pa {
namespace {

constexpr std::size_t kMostInputs = 32;

bool is_input_name(const std::string& name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
}

std::optional<InputSpec> read_input(const YamlValue& value) {
  std::optional<YamlMap> map = value.map();
  if (!map) return std::nullopt;
  InputSpec input;
  map->read_string("name", input.name);
  if (!is_input_name(input.name)) {
    map->reject("expected 'name', letters, digits and _");
    return std::nullopt;
  }
  const std::optional<YamlValue> shape = map->find("shape");
  if (!shape) {
    map->reject("expected 'shape', that of one row: [-1, 768]");
    return std::nullopt;
  }
  for (const YamlValue& size : shape->list()) {
    const std::int64_t given = size.integer({-1, 1 << 24}).value_or(1);
    if (given == 0) size.reject("expected a size, or -1 for any");
    input.shape.push_back(given);
  }
  return input;
}

}  // namespace

Plugin read_plugin(PluginKind kind, YamlMap& yaml, std::vector<InputSpec>& inputs) {
  Plugin plugin{kind, {}};
  const std::string_view ending = kind == PluginKind::kTorchScript ? ".pt" : ".pt2";
  const std::optional<YamlValue> file = yaml.find("file");
  if (!file) yaml.reject("expected 'file', the exported network: a file of this folder");
  if (file) plugin.file = file->string().value_or("");
  if (file && (plugin.file.find('/') != std::string::npos || !plugin.file.ends_with(ending))) {
    file->reject("expected a file of this folder that ends in " + std::string(ending));
    plugin.file.clear();
  }
  const std::optional<YamlValue> list = yaml.find("inputs");
  if (!list) return plugin;
  for (const YamlValue& value : list->list()) {
    std::optional<InputSpec> input = read_input(value);
    if (!input) continue;
    const bool known = std::any_of(inputs.begin(), inputs.end(), [&](const InputSpec& other) {
      return other.name == input->name;
    });
    if (known) value.reject("the input '" + input->name + "' is there twice");
    if (inputs.size() == kMostInputs) {
      value.reject("expected at most " + std::to_string(kMostInputs) + " inputs");
      break;
    }
    inputs.push_back(std::move(*input));
  }
  return plugin;
}

}  // namespace pa
