#pragma once

#include <ATen/ATen.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/support/model_folder.h"
#include "worker/models/registry.h"
#include "worker/models/tensors.h"

/// Networks of fixtures, loaded from a folder as people have them. Needs LibTorch.
namespace pa::test {

inline at::Tensor tensor(const Fixture& fixture, const std::string& name) {
  const TensorView& view = fixture.view(name);
  return alias(view.spec, view.bytes, fixture.file().keep_alive());
}

/// The model in a folder of these weights and this model.yaml (none if empty).
inline Result<Replica> load_model(const std::vector<TensorView>& weights, const std::string& yaml) {
  const TempFolder models;
  if (!yaml.empty()) models.write("m/model.yaml", yaml);
  std::filesystem::create_directories(models.path("m"));
  PA_TRY(write_safetensors(models.path("m/weights.safetensors"), {}, weights));
  FileHashes hashes;
  PA_ASSIGN(const ModelFolder folder, read_model_folder(models.path("m"), hashes));
  return load_replica(folder, Device{});
}

inline Result<Replica> load_model(const Fixture& fixture, const std::string& more_yaml = {}) {
  return load_model(weights_of(fixture), model_yaml(fixture) + more_yaml);
}

/// Row i of a fixture's inputs, alone.
inline Rows fixture_row(const Fixture& fixture, std::int64_t i) {
  Rows rows{
      tensor(fixture, "in.x").narrow(0, i, 1), tensor(fixture, "in.timestep").narrow(0, i, 1), {}};
  for (const char* name : {"context", "y", "guidance"}) {
    const std::string whole = std::string("in.") + name;
    const std::string own = whole + "." + std::to_string(i);
    if (fixture.has(whole)) rows.inputs[name] = tensor(fixture, whole).narrow(0, i, 1);
    if (fixture.has(own)) rows.inputs[name] = tensor(fixture, own);
  }
  return rows;
}

/// All rows of a fixture, if their inputs are of one shape.
inline std::optional<Rows> fixture_rows(const Fixture& fixture) {
  Rows rows{tensor(fixture, "in.x"), tensor(fixture, "in.timestep"), {}};
  if (fixture.has("in.context.0")) return std::nullopt;
  for (const char* name : {"context", "y", "guidance"}) {
    const std::string whole = std::string("in.") + name;
    if (fixture.has(whole)) rows.inputs[name] = tensor(fixture, whole);
  }
  return rows;
}

inline double difference(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

/// How far a fixture's values may be off.
inline double tolerance(const Fixture& fixture, const at::Tensor& want) {
  return fixture.meta["atol"].get<double>() +
         fixture.meta["rtol"].get<double>() * want.abs().max().item<double>();
}

}  // namespace pa::test
