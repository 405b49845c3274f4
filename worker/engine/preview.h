#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "shared/core/model_info.h"
#include "shared/wire/messages.h"

namespace pa {

/// A small picture: [height, width, 3] bytes.
struct PreviewPicture {
  std::int64_t width = 0;
  std::int64_t height = 0;
  std::vector<std::uint8_t> rgb;
};

/// What a denoised latent [C, H, W] F32 roughly looks like, pixel for pixel; averaged down to a
/// longest side of `size`, if that is positive, and of kMaxPreviewSide.
///
/// Empty if the latent has another rank, or other channels than the model's colours are for.
[[nodiscard]] PreviewPicture preview_of(const at::Tensor& denoised, const ModelInfo& model,
                                        std::int64_t size);

}  // namespace pa
