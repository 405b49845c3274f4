#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <memory>
#include <string>

#include "shared/core/model_info.h"
#include "worker/models/loras.h"
#include "worker/models/network.h"
#include "worker/models/weights.h"

namespace pa {

/// Inputs of a network by name, one row each: [1, ...] F32 on the device.
using LabelInputs = std::map<std::string, at::Tensor>;

/// A model's weights on one device.
struct Replica {
  ModelInfo info;
  std::unique_ptr<Weights> weights;  ///< Of the network; nullptr if it has none.
  std::unique_ptr<Network> network;
  Loras loras;                ///< Of the weights.
  double switch_seconds = 0;  ///< That the last change of its LoRAs took; 0: there was none.
  std::map<std::string, LabelInputs> labels;  ///< The conditions that the model folder has by name.
};

}  // namespace pa
