#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "shared/core/tensor_spec.h"

namespace pa::cli {

/// Shapes of a file's tensors, by name.
using Shapes = std::map<std::string, Shape, std::less<>>;

/// What the names and shapes of tensors tell about a weights file.
struct WeightsFamily {
  std::string family;  ///< "flux", "zimage", "sdxl" or "lora"; empty if not recognised.
  std::string naming;  ///< Whose names they are: "BFL", "diffusers", ...
  std::vector<std::pair<std::string, std::string>> sizes;  ///< ("hidden size", "3072"), ...
  std::vector<std::string>
      problems;  ///< In words: gaps among the blocks, tensors that are missing.
};

[[nodiscard]] WeightsFamily recognise(const Shapes& shapes);

}  // namespace pa::cli
