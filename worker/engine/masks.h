#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "shared/core/result.h"
#include "shared/core/tensor_spec.h"
#include "worker/engine/conditions.h"

/// Masks over latents: where a condition holds, and what inpainting makes anew.
namespace pa {

/// A rectangle of a latent, in its pixels.
struct Area {
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::int64_t y = 0;
  std::int64_t x = 0;
};

/// request: [height, width, y, x], or empty for none. Cut off at the latent's edges.
///
/// row: [C, H, W]. Errors: kInvalid at `field` if nothing of the area lies inside.
[[nodiscard]] Result<Area> area_of(const std::vector<std::int64_t>& request, const Shape& row,
                                   const std::string& field);

/// A mask as [1 or N, 1 or C, H, W] F32 on the CPU. Of another size than the latent's it is resized,
/// bilinearly, as ComfyUI's sampler_helpers.py does.
///
/// given: [n, c, h, w] or [n, h, w] F32, n 1 or `rows`, c 1 or C. row: [C, H, W].
/// Errors: kInvalid at /tensors/NAME for another shape or dtype.
[[nodiscard]] Result<at::Tensor> mask_for(const at::Tensor& given, const std::string& name,
                                          std::int64_t rows, const Shape& row);

/// How much a condition of this area counts at each of its pixels, [1, 1, height, width]: 1, falling
/// off linearly over up to 8 pixels towards those sides that are not the latent's own (ComfyUI's
/// samplers.py).
[[nodiscard]] at::Tensor feather(const Area& area, const Shape& row);

/// Inpainting as ComfyUI's KSamplerX0Inpaint: what the mask does not cover follows the latent.
class Inpaint {
 public:
  Inpaint() = default;  ///< None.
  /// mask [1 or N, 1 or C, H, W]; latent and noise [N, C, H, W], latent may be undefined, for zeros.
  /// All F32 on the device. flow: as in Prediction.
  Inpaint(at::Tensor mask, at::Tensor latent, at::Tensor noise, bool flow);

  explicit operator bool() const { return mask_.defined(); }

  /// What the network gets instead of x [C, H, W] of this row at noise level sigma:
  /// x m + (noise and latent mixed at sigma) (1 - m).
  [[nodiscard]] at::Tensor blend(std::int64_t row, const at::Tensor& x, float sigma) const;

  /// denoised [C, H, W] of this row becomes denoised m + latent (1 - m).
  void keep(std::int64_t row, const at::Tensor& denoised) const;

 private:
  [[nodiscard]] at::Tensor mask(std::int64_t row) const;

  at::Tensor mask_;
  at::Tensor latent_;
  at::Tensor noise_;
  bool flow_ = false;
};

}  // namespace pa
