#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "shared/core/tensor_spec.h"

/// Unit noise that a sample gets wherever it runs: a function of a seed and the sample's place in the batch. All of it
/// is made on the CPU, in float32, and is random access: it costs little more than the sample's own values.
namespace pa {

/// Largest entry of a batch_index.
inline constexpr std::int64_t kMaxBatchIndex = 1 << 20;

/// A sample of a batch.
struct NoisePlace {
  Shape row;  ///< Without the batch axis.
  std::int64_t batch = 1;
  std::int64_t sample = 0;  ///< In [0, batch).
};

/// The sample's row of the draw-th torch.randn [batch, row...] of a CPU generator: what ComfyUI draws for the whole
/// batch. Of the seed, the low 32 bits count.
///
/// draws_before  draws of [1, row...] that the generator made first.
/// returns       [row...]
[[nodiscard]] at::Tensor comfy_noise(std::uint64_t seed, const NoisePlace& place,
                                     std::int64_t draw = 0, std::int64_t draws_before = 0);

/// The index-th torch.randn [1, row...] of a CPU generator: ComfyUI's noise for an entry of `batch_index`.
[[nodiscard]] at::Tensor indexed_noise(std::uint64_t seed, const Shape& row, std::int64_t index);

/// Counter-based noise: sample i costs the same wherever it stands. Value 4b + j of a sample is the j-th of the normals
/// that philox4x32_10(counter = (b, 0, sample, interval), key = seed) gives by Box-Muller in float64, words (0, 1) and
/// (2, 3) being pairs, u = (word + 0.5) / 2^32.
///
/// interval: 0 for start noise, 1 + k for the k-th noise that a sampler adds.
/// returns [row...]
[[nodiscard]] at::Tensor keyed_noise(std::uint64_t seed, const Shape& row, std::int64_t sample,
                                     std::uint32_t interval);

}  // namespace pa
