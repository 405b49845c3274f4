#pragma once

#include <string>
#include <utility>
#include <vector>

#include "shared/io/safetensors.h"

namespace pa::cli {

/// What there is to tell of a file of weights or a LoRA: lines of (what, value), and what is wrong.
struct WeightsReport {
  std::vector<std::pair<std::string, std::string>> lines;
  std::vector<std::string> problems;
};

/// Tells of weights: family, sizes, parameters, the memory they take by dtype, and every tensor that
/// does not fit. A model.yaml in the file's folder is heeded.
[[nodiscard]] WeightsReport report_weights(const SafetensorsFile& file);

/// Tells of a LoRA: family, layers, ranks. With the weights it is meant for (a file or a model's
/// folder, empty: none), also which layers do not fit them.
[[nodiscard]] WeightsReport report_lora(const SafetensorsFile& file, const std::string& model);

/// Tells of a model's folder, as a worker would read it.
[[nodiscard]] WeightsReport report_folder(const std::string& path);

}  // namespace pa::cli
