#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "shared/core/model_info.h"

namespace pa {

/// Which models are in the memory of which worker's device, and what it takes to get others there, as workers tell.
class LoadTimes {
 public:
  /// All that is in this worker's memory now. What it once told of others is remembered.
  void told(const std::string& worker, std::span<const LoadedModel> loaded);
  /// The worker is gone, and its memory with it.
  void forget(const std::string& worker);

  /// Names of the models in its memory, in order.
  [[nodiscard]] std::vector<std::string> loaded(const std::string& worker) const;
  /// Seconds until the worker could begin a pass of the model with that LoRA set (its key_of()): 0 if it is all there,
  /// or if the worker has never told. What was never loaded there takes what it took the slowest other worker, or else
  /// what so many parameters usually take.
  [[nodiscard]] double seconds(const std::string& worker, const ModelInfo& model,
                               const std::string& loras) const;
  /// Likewise, if the model is not in its memory by then.
  [[nodiscard]] double seconds_anew(const std::string& worker, const ModelInfo& model,
                                    const std::string& loras) const;
  /// Whether the worker has ever told.
  [[nodiscard]] bool tells(const std::string& worker) const { return workers_.contains(worker); }

 private:
  struct Known {
    bool is_loaded = false;
    std::string loras;
    double load_seconds = 0;
    double switch_seconds = 0;  ///< 0: not known.
  };
  using Models = std::map<std::string, Known>;  ///< By name; bounded.

  [[nodiscard]] const Known* find(const std::string& worker, const std::string& model) const;
  [[nodiscard]] double load_seconds(const Known* known, const ModelInfo& model) const;
  [[nodiscard]] double switch_seconds(const Known* known, const ModelInfo& model) const;
  [[nodiscard]] double usual_load(const ModelInfo& model) const;
  [[nodiscard]] double usual_switch(const ModelInfo& model, double load_seconds) const;

  std::map<std::string, Models> workers_;  ///< By name.
};

}  // namespace pa
