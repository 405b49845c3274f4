#pragma once

#include <functional>
#include <string>
#include <vector>

#include "shared/core/model_info.h"
#include "shared/core/result.h"
#include "shared/io/file_hash.h"
#include "shared/io/safetensors.h"
#include "shared/models/families.h"
#include "shared/models/weight_index.h"

namespace pa {

/// A LoRA file of a model's folder.
struct LoraFile {
  std::string name;  ///< Without folder and extension.
  std::string path;
  std::string identity;  ///< "sha256:..." of the file.
};

/// What a model's folder holds: its .safetensors files, but for conditions.safetensors the weights,
/// model.yaml, and LoRA files in the folder `loras`. Mapped, not read.
struct ModelFolder {
  std::string path;
  ModelInfo info;     ///< With all that is known before the weights are read.
  std::string dtype;  ///< "F32", "F16" or "BF16" to compute in; empty: as the device prefers.
  ModelDescription description;
  WeightIndex weights;
  std::vector<SafetensorsFile> conditions;  ///< One, or none.
  std::vector<LoraFile> loras;              ///< By name.
};

/// Whether there is anything in a folder that may be a model.
[[nodiscard]] bool has_model(const std::string& path);

/// Reads a folder. The model's name is the folder's; the family is model.yaml's, or recognised by
/// the weights; the identity is the SHA-256 of names and hashes of its files.
///
/// A folder as diffusers writes it is taken as well: sharded weights with their index, which is
/// checked, and a whole pipeline's, whose network is in `transformer` or `unet`.
///
/// Blocks while it hashes the files: seconds a gigabyte, if `hashes` does not know them. `go_on` is
/// asked meanwhile.
///
/// Errors: kInvalid: mistakes in model.yaml, each with file, line and column; a broken file; no
/// family recognised; weights that do not fit it; labels without conditions; files in formats that
/// are not read, with what to do instead. kCancelled.
[[nodiscard]] Result<ModelFolder> read_model_folder(const std::string& path, FileHashes& hashes,
                                                    const std::function<bool()>& go_on = {});

/// Why files of this name are not read, and what to do instead; empty if there is nothing against it.
[[nodiscard]] std::string refused_format(const std::string& file_name);

}  // namespace pa
