#include "worker/models/registry.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "worker/models/analytic.h"
#include "worker/models/flux.h"
#include "worker/models/model_folder.h"
#include "worker/models/noop.h"
#include "worker/models/replica.h"
#include "worker/models/tensors.h"
#include "worker/models/torch_errors.h"

namespace pa {
namespace {

/// What the folder asks for; else what most weights are stored in, but F32 on a CPU.
at::ScalarType compute_dtype(const ModelFolder& folder, const Device& device) {
  if (!folder.dtype.empty()) return torch_dtype(*dtype_named(folder.dtype));
  if (device.kind == "cpu") return at::kFloat;
  const TensorView* const weight = folder.weights.find("img_in.weight");
  if (weight == nullptr || weight->spec.dtype == DType::kF64) return at::kFloat;
  return torch_dtype(weight->spec.dtype);
}

Status load_flux(const ModelFolder& folder, const Device& device, Replica& replica) {
  PA_ASSIGN(const FluxConfig config, flux_config(folder.weights, folder.flux));
  const at::ScalarType dtype = compute_dtype(folder, device);
  WeightReader reader(folder.weights, torch_device(device), dtype);
  PA_ASSIGN(replica.network, make_flux(reader, config, dtype));
  replica.info.parameters = reader.parameters();
  if (replica.info.latent.empty()) replica.info.latent = {config.in_channels, -1, -1};
  if (replica.info.latent[0] < 0) replica.info.latent[0] = config.in_channels;
  if (replica.info.latent[0] != config.in_channels || config.out_channels != config.in_channels) {
    return invalid("the network goes from " + std::to_string(config.in_channels) + " channels to " +
                   std::to_string(config.out_channels) + "; a latent has " +
                   std::to_string(replica.info.latent[0]));
  }
  return {};
}

Status load_noop(const ModelFolder& /*folder*/, const Device& /*device*/, Replica& replica) {
  replica.network = std::make_unique<Noop>();
  return {};
}

Status load_analytic(const ModelFolder& folder, const Device& /*device*/, Replica& replica) {
  replica.network = make_analytic(folder.analytic, folder.info.sampling.prediction);
  return {};
}

struct Family {
  std::string name;
  bool (*recognise)(const WeightFiles& weights);
  Status (*load)(const ModelFolder& folder, const Device& device, Replica& replica);
};

const std::vector<Family>& families() {
  static const std::vector<Family> kFamilies{
      {"flux", looks_like_flux, load_flux},
      {"noop", [](const WeightFiles&) { return false; }, load_noop},
      {"analytic", [](const WeightFiles&) { return false; }, load_analytic},
  };
  return kFamilies;
}

/// Conditions are named LABEL.INPUT; a label may have dots, an input has none.
Status load_labels(const ModelFolder& folder, const Device& device, Replica& replica) {
  for (const SafetensorsFile& file : folder.conditions) {
    for (const TensorView& view : file.tensors()) {
      const std::size_t dot = view.spec.name.rfind('.');
      if (dot == std::string::npos || dot == 0) {
        return invalid(file.path() + ": expected LABEL.INPUT, found '" + view.spec.name + "'");
      }
      const std::string label = view.spec.name.substr(0, dot);
      const std::string name = view.spec.name.substr(dot + 1);
      const std::vector<InputSpec>& inputs = replica.network->input_contract();
      const auto input = std::find_if(inputs.begin(), inputs.end(),
                                      [&](const InputSpec& i) { return i.name == name; });
      if (input == inputs.end()) {
        return invalid(file.path() + ": the model has no input '" + name + "' of '" +
                       view.spec.name + "'");
      }
      const Shape& shape = view.spec.shape;
      const bool fits =
          !shape.empty() && shape[0] == 1 &&
          std::equal(shape.begin() + 1, shape.end(), input->shape.begin(), input->shape.end(),
                     [](std::int64_t got, std::int64_t want) { return want < 0 || got == want; });
      if (!fits) {
        return invalid(file.path() + ": '" + view.spec.name + "' is " + to_string(shape) +
                       "; expected one row of " + to_string(input->shape));
      }
      replica.labels[label][name] = alias(view.spec, view.bytes, file.keep_alive())
                                        .to(torch_device(device), torch_dtype(input->dtype));
    }
  }
  for (const std::string& label : replica.info.labels) {
    for (const InputSpec& input : replica.network->input_contract()) {
      if (input.required && !replica.labels[label].contains(input.name)) {
        return invalid("the label '" + label + "' has no tensor '" + label + "." + input.name +
                       "' in conditions.safetensors");
      }
    }
  }
  if (replica.info.labels.empty()) {
    for (const auto& entry : replica.labels) replica.info.labels.push_back(entry.first);
  }
  return {};
}

}  // namespace

const std::vector<std::string>& family_names() {
  static const std::vector<std::string> kNames = [] {
    std::vector<std::string> names;
    for (const Family& family : families()) names.push_back(family.name);
    return names;
  }();
  return kNames;
}

std::string recognise_family(const WeightFiles& weights) {
  for (const Family& family : families()) {
    if (family.recognise(weights)) return family.name;
  }
  return {};
}

Result<Replica> load_replica(const ModelFolder& folder, const Device& device) {
  const auto family = std::find_if(families().begin(), families().end(),
                                   [&](const Family& f) { return f.name == folder.info.family; });
  PA_CHECK(family != families().end());
  Result<Replica> loaded = guarded<Replica>([&]() -> Result<Replica> {
    Replica replica;
    replica.info = folder.info;
    PA_TRY(family->load(folder, device, replica));
    replica.colours = folder.colours;
    replica.info.inputs = replica.network->input_contract();
    PA_TRY(load_labels(folder, device, replica));
    return replica;
  });
  if (loaded.ok()) return loaded;
  return Error{loaded.error().code, folder.path + ": " + loaded.error().message, {}};
}

}  // namespace pa
