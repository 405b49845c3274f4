#include "worker/engine/noise.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <span>

#include "worker/engine/philox.h"
#include "worker/engine/torch_randn.h"

namespace pa {
namespace {

std::span<float> values_of(const at::Tensor& tensor) {
  return {tensor.mutable_data_ptr<float>(), static_cast<std::size_t>(tensor.numel())};
}

}  // namespace

at::Tensor comfy_noise(std::uint64_t seed, const NoisePlace& place, std::int64_t draw,
                       std::int64_t draws_before) {
  const at::Tensor out = at::empty(place.row, at::kFloat);
  const std::int64_t size = out.numel();
  TorchRandn randn(seed);
  randn.skip(size, draws_before);
  randn.skip(size * place.batch, draw);
  randn.draw(size * place.batch, size * place.sample, values_of(out));
  return out;
}

at::Tensor indexed_noise(std::uint64_t seed, const Shape& row, std::int64_t index) {
  return comfy_noise(seed, {row, 1, 0}, index);
}

at::Tensor keyed_noise(std::uint64_t seed, const Shape& row, std::int64_t sample,
                       std::uint32_t interval) {
  const at::Tensor out = at::empty(row, at::kFloat);
  const std::span<float> values = values_of(out);
  const std::array<std::uint32_t, 2> key{static_cast<std::uint32_t>(seed),
                                         static_cast<std::uint32_t>(seed >> 32)};
  for (std::size_t begin = 0; begin < values.size(); begin += 4) {
    const auto words = philox4x32_10(
        {static_cast<std::uint32_t>(begin / 4), 0, static_cast<std::uint32_t>(sample), interval},
        key);
    const auto uniform = [&](std::size_t k) { return (words[k] + 0.5) * 0x1p-32; };
    std::array<float, 4> normals{};
    for (const std::size_t pair : {0, 2}) {
      const double radius = std::sqrt(-2.0 * std::log(uniform(pair)));
      const double angle = 2.0 * std::numbers::pi * uniform(pair + 1);
      normals[pair] = static_cast<float>(radius * std::cos(angle));
      normals[pair + 1] = static_cast<float>(radius * std::sin(angle));
    }
    std::copy_n(normals.begin(), std::min<std::size_t>(4, values.size() - begin),
                values.begin() + static_cast<std::ptrdiff_t>(begin));
  }
  return out;
}

}  // namespace pa
