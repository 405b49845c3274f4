#include "worker/models/registry.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <system_error>

#include "worker/models/analytic.h"
#include "worker/models/flux.h"
#include "worker/models/noop.h"
#include "worker/models/plugins.h"
#include "worker/models/sdxl.h"
#include "worker/models/tensors.h"
#include "worker/models/torch_errors.h"
#include "worker/models/zimage.h"

namespace pa {
namespace {

/// The dtype that most of the weights are stored in.
DType common_dtype(const WeightIndex& weights) {
  std::map<DType, std::size_t> bytes;
  for (const auto& entry : weights.tensors()) {
    bytes[entry.second.view.spec.dtype] += entry.second.view.bytes.size();
  }
  const auto most = std::max_element(
      bytes.begin(), bytes.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  return most == bytes.end() ? DType::kF32 : most->first;
}

/// What the folder asks for; else what most weights are stored in, but F32 on a CPU and BF16 for fp8.
at::ScalarType compute_dtype(const ModelFolder& folder, const Device& device) {
  if (!folder.dtype.empty()) return torch_dtype(*dtype_named(folder.dtype));
  if (device.kind == "cpu") return at::kFloat;
  switch (common_dtype(folder.weights)) {
    case DType::kF16:
      return at::kHalf;
    case DType::kBF16:
    case DType::kF8E4M3:
    case DType::kF8E5M2:
      return at::kBFloat16;
    default:
      return at::kFloat;
  }
}

std::unique_ptr<Network> make_network(const ModelDescription& model, const SamplingInfo& sampling,
                                      const Weights* weights) {
  if (const auto* flux = std::get_if<FluxConfig>(&model.config)) {
    return make_flux(*weights, *flux, model.inputs);
  }
  if (const auto* zimage = std::get_if<ZImageConfig>(&model.config)) {
    return make_zimage(*weights, *zimage, model.inputs);
  }
  if (const auto* sdxl = std::get_if<SdxlConfig>(&model.config)) {
    return make_sdxl(*weights, *sdxl, model.inputs);
  }
  if (const auto* analytic = std::get_if<AnalyticDenoiser>(&model.config)) {
    return make_analytic(*analytic, sampling);
  }
  return std::make_unique<Noop>();
}

Result<std::unique_ptr<Network>> load_plugin(const ModelFolder& folder, const Plugin& plugin,
                                             const Device& device) {
  const std::string path = folder.path + "/" + plugin.file;
  const at::ScalarType dtype =
      folder.dtype.empty() ? at::kFloat : torch_dtype(*dtype_named(folder.dtype));
  const std::vector<InputSpec>& inputs = folder.description.inputs;
  if (plugin.kind == PluginKind::kTorchScript)
    return load_torchscript(path, torch_device(device), dtype, inputs);
  return load_aotinductor(path, torch_device(device), dtype, inputs, folder.weights);
}

/// What a plug-in takes: its file's weights; or its constants, which a CPU reads from their files.
ReplicaSize plugin_size(const ModelFolder& folder, const Plugin& plugin, bool on_cpu) {
  ReplicaSize size;
  if (plugin.kind == PluginKind::kTorchScript) {
    std::error_code ignored;
    size.owned_bytes = static_cast<std::int64_t>(
        std::filesystem::file_size(folder.path + "/" + plugin.file, ignored));
    return size;
  }
  std::int64_t bytes = 0;
  for (const auto& [name, stored] : folder.weights.tensors())
    bytes += std::ssize(stored.view.bytes);
  (on_cpu ? size.aliased_bytes : size.owned_bytes) = bytes;
  return size;
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

Result<Replica> load_replica(const ModelFolder& folder, const Device& device,
                             const LoadProgress& progress) {
  Result<Replica> loaded = guarded<Replica>([&]() -> Result<Replica> {
    Replica replica;
    replica.info = folder.info;
    if (!folder.description.blueprint.parameters().empty()) {
      PA_ASSIGN(replica.weights, Weights::load(folder.weights, folder.description.blueprint,
                                               folder.description.naming, torch_device(device),
                                               compute_dtype(folder, device), progress));
      replica.loras = Loras(folder.loras, *replica.weights);
    }
    if (const auto* plugin = std::get_if<Plugin>(&folder.description.config)) {
      PA_ASSIGN(replica.network, load_plugin(folder, *plugin, device));
    } else {
      replica.network =
          make_network(folder.description, folder.info.sampling, replica.weights.get());
    }
    PA_TRY(load_labels(folder, device, replica));
    return replica;
  });
  if (loaded.ok()) return loaded;
  return Error{loaded.error().code, folder.path + ": " + loaded.error().message, {}};
}

ReplicaSize replica_size(const ModelFolder& folder, const Device& device) {
  if (const auto* plugin = std::get_if<Plugin>(&folder.description.config))
    return plugin_size(folder, *plugin, device.kind == "cpu");
  const WeightMatch match =
      match_weights(folder.description.blueprint, folder.weights, folder.description.naming);
  return replica_size(match, device.kind == "cpu", compute_dtype(folder, device));
}

}  // namespace pa
