#pragma once

#include <algorithm>
#include <string>

#include "shared/wire/messages.h"

namespace pa::cli {

/// The model of this name or identity on a worker, or nullptr.
[[nodiscard]] inline const ModelInfo* model_of(const WorkerStatus& worker,
                                               const std::string& model) {
  const auto found = std::find_if(
      worker.models.begin(), worker.models.end(),
      [&](const ModelInfo& info) { return info.name == model || info.identity == model; });
  return found == worker.models.end() ? nullptr : &*found;
}

/// Whether the model of this name is in the worker's memory.
[[nodiscard]] inline bool has_loaded(const WorkerStatus& worker, const std::string& name) {
  return std::find(worker.loaded.begin(), worker.loaded.end(), name) != worker.loaded.end();
}

}  // namespace pa::cli
