#pragma once

#include <string>
#include <vector>

#include "shared/core/model_info.h"
#include "shared/core/result.h"
#include "worker/models/analytic.h"
#include "worker/models/flux_config.h"
#include "worker/models/latent_colours.h"
#include "worker/models/weights.h"

namespace pa {

/// What a model's folder holds: its .safetensors files, but for conditions.safetensors the weights,
/// and model.yaml. Mapped, not read.
struct ModelFolder {
  std::string path;
  ModelInfo
      info;  ///< Without what only the network tells: inputs, parameters; latent if not given.
  std::string dtype;  ///< "F32", "F16" or "BF16" to compute in; empty: as the device prefers.
  FluxOptions flux;
  AnalyticDenoiser analytic;
  LatentColours colours;
  WeightFiles weights;
  std::vector<SafetensorsFile> conditions;  ///< One, or none.
};

/// Reads a folder. The model's name is the folder's; the family is model.yaml's, or recognised by
/// the weights; the identity is the SHA-256 of names, sizes and contents of its files.
///
/// Blocks while it hashes them: seconds a gigabyte.
///
/// Errors: kInvalid: mistakes in model.yaml, each with file, line and column; a broken file; no
/// family recognised; labels without conditions.
[[nodiscard]] Result<ModelFolder> read_model_folder(const std::string& path);

}  // namespace pa
