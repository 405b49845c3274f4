#include "worker/engine/masks.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <utility>

namespace pa {
namespace {

constexpr std::int64_t kFeatherPixels = 8;

/// Row `row` of a tensor with one row for all, or one a sample.
at::Tensor row_of(const at::Tensor& rows, std::int64_t row) {
  return rows.select(0, rows.size(0) == 1 ? 0 : row);
}

/// 1 with a ramp towards those ends that are marked.
at::Tensor ramp(std::int64_t size, bool begins, bool ends) {
  at::Tensor values = at::ones({size}, at::kFloat);
  float* const at = values.mutable_data_ptr<float>();
  const std::int64_t length = std::min(kFeatherPixels, size / 4);
  for (std::int64_t k = 0; k < length; ++k) {
    const float part = static_cast<float>(k + 1) * (1.0F / static_cast<float>(length));
    if (begins) at[k] *= part;
    if (ends) at[size - 1 - k] *= part;
  }
  return values;
}

}  // namespace

Result<Area> area_of(const std::vector<std::int64_t>& request, const Shape& row,
                     const std::string& field) {
  const std::int64_t height = row[1];
  const std::int64_t width = row[2];
  const Area area{std::min(request[0], height - request[2]),
                  std::min(request[1], width - request[3]), request[2], request[3]};
  if (area.height >= 1 && area.width >= 1) return area;
  return invalid("the area " + to_string(request) + " (height, width, y, x) has no pixel inside " +
                     "the latent of " + std::to_string(height) + " x " + std::to_string(width),
                 field);
}

Result<at::Tensor> mask_for(const at::Tensor& given, const std::string& name, std::int64_t rows,
                            const Shape& row) {
  const at::Tensor mask = given.defined() && given.dim() == 3 ? given.unsqueeze(1) : given;
  const bool fits =
      mask.defined() && mask.dim() == 4 && row.size() == 3 && mask.scalar_type() == at::kFloat &&
      (mask.size(0) == 1 || mask.size(0) == rows) && (mask.size(1) == 1 || mask.size(1) == row[0]);
  if (!fits) {
    return invalid(
        "expected a tensor '" + name + "' of F32 [1 or " + std::to_string(rows) + ", 1, H, W]",
        "/tensors/" + name);
  }
  if (mask.size(2) == row[1] && mask.size(3) == row[2]) return mask;
  return at::upsample_bilinear2d(mask, {row[1], row[2]}, /*align_corners=*/false);
}

at::Tensor feather(const Area& area, const Shape& row) {
  const at::Tensor down = ramp(area.height, area.y > 0, area.y + area.height < row[1]);
  const at::Tensor across = ramp(area.width, area.x > 0, area.x + area.width < row[2]);
  return (down.unsqueeze(1) * across.unsqueeze(0)).unsqueeze(0).unsqueeze(0);
}

Inpaint::Inpaint(at::Tensor mask, at::Tensor latent, at::Tensor noise, bool flow)
    : mask_(std::move(mask)), latent_(std::move(latent)), noise_(std::move(noise)), flow_(flow) {
  if (!latent_.defined()) latent_ = at::zeros_like(noise_.narrow(0, 0, 1));
}

at::Tensor Inpaint::mask(std::int64_t row) const { return row_of(mask_, row); }

at::Tensor Inpaint::blend(std::int64_t row, const at::Tensor& x, float sigma) const {
  const at::Tensor latent = row_of(latent_, row);
  const at::Tensor noise = row_of(noise_, row) * sigma;
  const at::Tensor mixed = flow_ ? noise + latent * (1.0F - sigma) : noise + latent;
  return x * mask(row) + mixed * (1.0F - mask(row));
}

void Inpaint::keep(std::int64_t row, const at::Tensor& denoised) const {
  denoised.mul_(mask(row)).add_(row_of(latent_, row) * (1.0F - mask(row)));
}

}  // namespace pa
