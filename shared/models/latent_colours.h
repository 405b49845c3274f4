#pragma once

#include <array>
#include <vector>

namespace pa {

/// How a model's latents look: for previews.
struct LatentColours {
  /// If max > min, latents are pixels in this range: one channel of grey or three of colour.
  double pixel_min = 0;
  double pixel_max = 0;
  /// Else red, green and blue, 0 to 1, are `bias` + the sum over channels of value * factor; one entry
  /// a channel. Empty: grey, the mean of the channels from 2.5 deviations below to 2.5 above its mean.
  std::vector<std::array<double, 3>> factors;
  std::array<double, 3> bias{0.5, 0.5, 0.5};
};

}  // namespace pa
