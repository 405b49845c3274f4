#include "worker/engine/noise.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "worker/engine/philox.h"

namespace pa {
namespace {

constexpr std::int64_t kTransformBlock = 16;  // Values that torch's randn transforms together.

Shape with_rows(std::int64_t rows, const Shape& row) {
  Shape shape{rows};
  shape.insert(shape.end(), row.begin(), row.end());
  return shape;
}

/// Draws rows one after the other, and keeps draw wanted[i] as row i.
at::Tensor draw_one_by_one(at::Generator generator, const Shape& row,
                           std::span<const std::int64_t> wanted) {
  const at::Tensor out = at::empty(with_rows(std::ssize(wanted), row), at::kFloat);
  const at::Tensor drawn = at::empty(with_rows(1, row), at::kFloat);
  const std::int64_t last = *std::max_element(wanted.begin(), wanted.end());
  for (std::int64_t draw = 0; draw <= last; ++draw) {
    drawn.normal_(0.0, 1.0, generator);
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      if (wanted[i] == draw) out.narrow(0, static_cast<std::int64_t>(i), 1).copy_(drawn);
    }
  }
  return out;
}

}  // namespace

Result<at::Tensor> comfy_noise(std::uint64_t seed, const Shape& row, std::int64_t batch,
                               std::span<const std::int64_t> samples,
                               std::span<const std::int64_t> index) {
  const at::Generator generator = at::detail::createCPUGenerator(seed);
  if (samples.empty()) return at::empty(with_rows(0, row), at::kFloat);
  if (!index.empty()) {
    std::vector<std::int64_t> draws;
    for (const std::int64_t sample : samples) {
      const std::int64_t draw = index[static_cast<std::size_t>(sample)];
      if (draw < 0 || draw > kMaxBatchIndex) {
        return invalid("expected an index from 0 to " + std::to_string(kMaxBatchIndex) +
                           ", found " + std::to_string(draw),
                       "/batch_index/" + std::to_string(sample));
      }
      draws.push_back(draw);
    }
    return draw_one_by_one(generator, row, draws);
  }
  // Only whole blocks make rows that are drawn one by one equal to those of one big draw.
  if (element_count(row).value_or(1) % kTransformBlock == 0) {
    return draw_one_by_one(generator, row, samples);
  }
  const at::Tensor all = at::empty(with_rows(batch, row), at::kFloat).normal_(0.0, 1.0, generator);
  const at::Tensor rows = at::tensor(at::ArrayRef<std::int64_t>(samples.data(), samples.size()));
  return all.index_select(0, rows);
}

at::Tensor keyed_noise(std::uint64_t seed, const Shape& row, std::span<const std::int64_t> samples,
                       std::uint32_t interval) {
  const at::Tensor out = at::empty(with_rows(std::ssize(samples), row), at::kFloat);
  const std::array<std::uint32_t, 2> key{static_cast<std::uint32_t>(seed),
                                         static_cast<std::uint32_t>(seed >> 32)};
  const std::int64_t size = element_count(row).value_or(0);
  float* values = out.mutable_data_ptr<float>();
  for (const std::int64_t sample : samples) {
    for (std::int64_t begin = 0; begin < size; begin += 4) {
      const auto words = philox4x32_10(
          {static_cast<std::uint32_t>(begin / 4), 0, static_cast<std::uint32_t>(sample), interval},
          key);
      const auto uniform = [&](std::size_t k) { return (words[k] + 0.5) * 0x1p-32; };
      for (std::int64_t k = 0; k < 4 && begin + k < size; ++k) {
        const std::size_t pair = static_cast<std::size_t>(k) / 2 * 2;
        const double radius = std::sqrt(-2.0 * std::log(uniform(pair)));
        const double angle = 2.0 * std::numbers::pi * uniform(pair + 1);
        *values++ = static_cast<float>(radius * (k % 2 == 0 ? std::cos(angle) : std::sin(angle)));
      }
    }
  }
  return out;
}

}  // namespace pa
