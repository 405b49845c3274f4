#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "shared/core/model_info.h"
#include "shared/io/yaml.h"

/// Networks that are none of ours: exported from PyTorch into one file, and described by model.yaml.
namespace pa {

enum class PluginKind : std::uint8_t {
  kTorchScript,  ///< A module that torch.jit.save wrote, weights included.
  kAotInductor,  ///< A .pt2 package of AOTInductor: machine code, which runs as the worker.
};

struct Plugin {
  PluginKind kind = PluginKind::kTorchScript;
  std::string file;  ///< In the model's folder.
};

/// Reads `file` and `inputs` of a model.yaml; mistakes are noted there.
///
///   file: unet.pt
///   inputs:                  # what forward(x, timestep, ...) takes beside these two, in its order
///     - {name: context, shape: [-1, 768]}      # of one row; -1: any size
[[nodiscard]] Plugin read_plugin(PluginKind kind, YamlMap& yaml, std::vector<InputSpec>& inputs);

}  // namespace pa
