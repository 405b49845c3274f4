#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <string>
#include <vector>

#include "shared/core/model_info.h"
#include "shared/core/result.h"

namespace pa {

/// The rows of one network pass.
struct Rows {
  at::Tensor x;  ///< [R, ...] f32 on the device, contiguous; R >= 1.
  /// [R] f32 on the device; may differ from row to row. What the network is told of the noise level:
  /// SigmaTable::timestep_of() of it, which is sigma itself on flows without a multiplier.
  at::Tensor sigma;
  at::Tensor level;  ///< [R] f32 on the device: sigma itself, for networks that are formulas.
  std::map<std::string, at::Tensor> inputs;  ///< As the contract names them, R rows each.
};

/// A network on one device, which nothing else may touch.
///
/// Thread: the compute thread only, construction and destruction included.
class Network {
 public:
  virtual ~Network() = default;

  /// returns       [R, ...] f32 on the device, the shape of rows.x: the raw prediction.
  ///
  /// Row i depends on row i alone (1e-5 relative).
  /// Blocks for the whole pass: milliseconds to seconds.
  ///
  /// Errors: kInvalid (shape or dtype; nothing ran), kOverloaded (device out
  /// of memory; fewer rows may fit), kInternal (device lost; exit).
  [[nodiscard]] virtual Result<at::Tensor> forward(const Rows& rows) = 0;

  /// Inputs it takes beside x and sigma.
  [[nodiscard]] virtual const std::vector<InputSpec>& input_contract() const = 0;
};

}  // namespace pa
