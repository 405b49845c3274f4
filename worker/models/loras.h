#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "shared/core/request.h"
#include "shared/core/result.h"
#include "shared/models/lora.h"
#include "shared/models/model_folder.h"
#include "worker/models/weights.h"

namespace pa {

/// The LoRAs of one replica: which there are, and which are on.
///
/// Thread: the compute thread only.
class Loras {
 public:
  /// None.
  Loras() = default;
  /// `weights` must outlive this.
  Loras(std::vector<LoraFile> files, Weights& weights)
      : files_(std::move(files)), weights_(&weights) {}

  /// Checks that every LoRA of a set is there and fits the network, and opens it.
  ///
  /// Errors: kInvalid with the field of the request, "/loras/0/name", naming what is not found, what
  /// does not fit, or the algorithm that is not applied.
  [[nodiscard]] Status check(const std::vector<LoraRef>& set);

  /// Puts exactly this set on the weights, in order, taking out exactly what was on: weights that
  /// are in no set are what the files have, bit for bit. Blocks: milliseconds to seconds.
  ///
  /// returns       whether anything had to be changed.
  /// Errors: as check(); kOverloaded (no memory; then none is on).
  [[nodiscard]] Result<bool> put_on(const std::vector<LoraRef>& set);

  /// key_of() the set that is on.
  [[nodiscard]] const std::string& on() const { return on_; }

 private:
  struct Opened {
    SafetensorsFile file;
    LoraMatch match;
  };

  [[nodiscard]] Result<const Opened*> open(const LoraRef& lora, const std::string& field);
  void apply(const std::vector<LoraRef>& set);

  std::vector<LoraFile> files_;
  Weights* weights_ = nullptr;
  std::map<std::string, std::unique_ptr<Opened>> opened_;  // By path.
  std::string on_;                                         // key_of() the set that is on.
  std::vector<std::string> changed_;                       // Parameters that are not the files'.
};

}  // namespace pa
