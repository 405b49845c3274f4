#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "worker/engine/noise.h"

namespace pa {

/// A Brownian path over [sigma_min, sigma_max] for a whole batch, as torchsde.BrownianTree gives it with ComfyUI's
/// settings: halved again and again down to 1e-6, each half's increment from a seed of its own. So an increment does
/// not depend on what else is asked for, or in which order.
///
/// Immutable. Thread-safe.
class BrownianTree {
 public:
  /// 0 < sigma_min < sigma_max, both of float32.
  BrownianTree(std::uint64_t seed, float sigma_min, float sigma_max)
      : seed_(seed), sigma_min_(sigma_min), sigma_max_(sigma_max) {}

  /// The sample's part of the path's increment between two sigmas, either first, outside of the tree cut off to it,
  /// divided by the root of their distance: unit noise, negated for falling sigmas (ComfyUI). [row...] F32.
  ///
  /// About 40 draws of randn for a sample, and as many tensors at most while it runs.
  [[nodiscard]] at::Tensor noise(float from, float to, const NoisePlace& place) const;

 private:
  std::uint64_t seed_;
  float sigma_min_;
  float sigma_max_;
};

}  // namespace pa
