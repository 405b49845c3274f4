#include "worker/engine/preview.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

namespace pa {
namespace {

constexpr double kGreyDeviations = 2.5;

/// [3 or 1, H, W] from 0 to 1, not clamped; undefined if the channels do not fit.
at::Tensor colours_of(const at::Tensor& latent, const ModelInfo& model) {
  const std::int64_t channels = latent.size(0);
  if (model.pixel_max > model.pixel_min) {
    const at::Tensor pixels =
        channels == 3 ? latent : latent.mean(at::IntArrayRef{0}, /*keepdim=*/true);
    return (pixels - model.pixel_min) / (model.pixel_max - model.pixel_min);
  }
  if (model.colours.empty()) {
    const at::Tensor grey = latent.mean(at::IntArrayRef{0}, /*keepdim=*/true);
    const double deviation = std::max(grey.std(/*unbiased=*/false).item<double>(), 1e-6);
    return (grey - grey.mean()) / (2.0 * kGreyDeviations * deviation) + 0.5;
  }
  if (std::ssize(model.colours) != 3 * (1 + channels)) return {};
  std::vector<at::Tensor> planes;
  for (std::size_t colour = 0; colour < 3; ++colour) {
    at::Tensor plane = at::full_like(latent[0], model.colours[colour]);
    for (std::int64_t c = 0; c < channels; ++c) {
      plane.add_(latent[c], model.colours[static_cast<std::size_t>(3 * (1 + c)) + colour]);
    }
    planes.push_back(plane);
  }
  return at::stack(planes);
}

}  // namespace

PreviewPicture preview_of(const at::Tensor& denoised, const ModelInfo& model, std::int64_t size) {
  if (denoised.dim() != 3) return {};
  at::Tensor latent = denoised;
  const std::int64_t longest = std::max(latent.size(1), latent.size(2));
  const std::int64_t side = size > 0 ? std::min(size, kMaxPreviewSide) : kMaxPreviewSide;
  if (longest > side) {
    const auto smaller = [&](std::int64_t n) {
      return std::max<std::int64_t>(1, (n * side + longest / 2) / longest);
    };
    latent = at::adaptive_avg_pool2d(latent.unsqueeze(0),
                                     {smaller(latent.size(1)), smaller(latent.size(2))})[0];
  }
  const at::Tensor values = colours_of(latent.to(at::kCPU, at::kFloat), model);
  if (!values.defined()) return {};
  const at::Tensor bytes = at::nan_to_num(values)
                               .clamp(0.0, 1.0)
                               .mul(255.0)
                               .round()
                               .to(at::kByte)
                               .expand({3, -1, -1})
                               .permute({1, 2, 0})
                               .contiguous();
  PreviewPicture picture{bytes.size(1), bytes.size(0), {}};
  const auto* const data = bytes.const_data_ptr<std::uint8_t>();
  picture.rgb.assign(data, data + bytes.numel());
  return picture;
}

}  // namespace pa
