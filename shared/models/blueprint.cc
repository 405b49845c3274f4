#include "shared/models/blueprint.h"

#include "shared/core/result.h"

namespace pa {

void Blueprint::add(const std::string& name, const Shape& shape, const std::string& diffusers) {
  Parameter parameter{name, shape, {}};
  if (!diffusers.empty()) {
    const std::int64_t rows = shape.empty() ? 1 : shape.front();
    parameter.diffusers.push_back({diffusers, 0, rows, rows});
  }
  PA_CHECK(by_name_.emplace(name, parameters_.size()).second);
  parameters_.push_back(std::move(parameter));
}

void Blueprint::linear_of_parts(const std::string& name, std::int64_t out, std::int64_t in,
                                bool bias, const std::vector<Part>& diffusers) {
  for (const char* const kind : {".weight", ".bias"}) {
    const bool weight = std::string_view(kind) == ".weight";
    if (!weight && !bias) continue;
    add(name + kind, weight ? Shape{out, in} : Shape{out});
    for (Part part : diffusers) {
      part.name += kind;
      parameters_.back().diffusers.push_back(std::move(part));
    }
  }
}

void Blueprint::linear(const std::string& name, std::int64_t out, std::int64_t in, bool bias,
                       const std::vector<LayerPart>& diffusers) {
  std::vector<Part> parts;
  for (const auto& [part, rows] : diffusers) parts.push_back({part, 0, rows, rows});
  linear_of_parts(name, out, in, bias, parts);
}

void Blueprint::convolution(const std::string& name, std::int64_t out, std::int64_t in,
                            std::int64_t size, const std::string& diffusers) {
  const bool same = diffusers.empty();
  add(name + ".weight", {out, in, size, size}, same ? "" : diffusers + ".weight");
  add(name + ".bias", {out}, same ? "" : diffusers + ".bias");
}

void Blueprint::norm(const std::string& name, std::int64_t size, const std::string& diffusers) {
  const bool same = diffusers.empty();
  add(name + ".weight", {size}, same ? "" : diffusers + ".weight");
  add(name + ".bias", {size}, same ? "" : diffusers + ".bias");
}

const Parameter* Blueprint::find(std::string_view name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : &parameters_[found->second];
}

std::int64_t Blueprint::elements() const {
  std::int64_t sum = 0;
  for (const Parameter& parameter : parameters_) {
    sum += element_count(parameter.shape).value_or(0);
  }
  return sum;
}

}  // namespace pa
