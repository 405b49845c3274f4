#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

#include "shared/core/result.h"
#include "shared/core/tensor_spec.h"

/// Unit noise that a sample gets wherever it runs: a function of the request and the sample's place
/// in the batch. All of it is made on the CPU, in float32.
namespace pa {

/// Largest entry of a batch_index: each costs a draw.
inline constexpr std::int64_t kMaxBatchIndex = 1 << 20;

/// What ComfyUI's comfy/sample.py draws for the whole batch, of which these samples get their rows:
/// randn of [batch, row...] from torch's CPU generator. Of the seed, the low 32 bits count.
///
/// row      shape of a sample, without the batch axis.
/// batch    samples in the whole batch.
/// samples  which of them, ascending.
/// index    empty; or `batch` entries: then randn of [1, row...] is drawn again and again, and
///          sample i gets draw index[i].
/// returns  [samples.size(), row...]
///
/// Costs a draw for every sample before the last one too; none of them is kept.
///
/// Errors: kInvalid at /batch_index for an entry below 0 or above kMaxBatchIndex.
[[nodiscard]] Result<at::Tensor> comfy_noise(std::uint64_t seed, const Shape& row,
                                             std::int64_t batch,
                                             std::span<const std::int64_t> samples,
                                             std::span<const std::int64_t> index);

/// Counter-based noise: sample i costs the same wherever it stands. Value 4b + j of a sample is the
/// j-th of the normals that philox4x32_10(counter = (b, 0, i, interval), key = seed) gives by
/// Box-Muller in float64, words (0, 1) and (2, 3) being pairs, u = (word + 0.5) / 2^32.
///
/// interval: 0 for start noise, 1 + k for the k-th noise that a sampler adds.
/// returns [samples.size(), row...]
[[nodiscard]] at::Tensor keyed_noise(std::uint64_t seed, const Shape& row,
                                     std::span<const std::int64_t> samples, std::uint32_t interval);

}  // namespace pa
