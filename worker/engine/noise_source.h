#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "shared/core/request.h"
#include "shared/core/result.h"
#include "shared/core/tensor_spec.h"
#include "shared/sampling/program.h"
#include "worker/engine/noise_maker.h"

namespace pa {

/// Tensors that a request may bring instead of having noise made: [rows, ...] and [draws, rows, ...] F32 on the CPU,
/// undefined if it does not.
struct GivenNoise {
  at::Tensor start;
  at::Tensor steps;
};

/// Every noise of a shard's samples, each a function of the request, the sample's place in the batch and the draw's in
/// the program; not of the shard, the worker, or what was made before.
///
/// What draws give unless the request brings them, by Request::noise:
///   keyed          keyed_noise() with sampler_seed, by default seed + 1, and interval 1 + draw.
///   else           what ComfyUI's CPU generators give, by Program::noise_origin:
///     kSampler     the draw-th of the generator seeded with sampler_seed, by default seed + 1.
///     kStart       the draws of the start noise's generator after that; with a sampler_seed, those of its generator.
///     kBrownian    a BrownianTree seeded with sampler_seed, by default seed.
class NoiseSource {
 public:
  /// samples  indices in the request's batch, the shard's rows.
  /// row      shape of a sample.
  ///
  /// Errors: kInvalid at /samples, /batch_index, /tensors/noise, /tensors/step_noise.
  [[nodiscard]] static Result<NoiseSource> of(const Request& request, const Program& program,
                                              const Shape& row,
                                              const std::vector<std::int64_t>& samples,
                                              const GivenNoise& given);

  /// The start noise of a row of the shard; zeros without add_noise.
  [[nodiscard]] NoiseRecipe start(std::int64_t row) const;

  /// What ComfyUI's "ddim" mixes into inpainted latents: a draw of its own, with seed + 1.
  [[nodiscard]] NoiseRecipe fresh(std::int64_t row) const;

  /// What the draw-th noise that the program asks for gives a row of the shard.
  [[nodiscard]] NoiseRecipe draw(std::int64_t row, std::int64_t draw) const;

 private:
  struct State;
  explicit NoiseSource(std::shared_ptr<const State> state) : state_(std::move(state)) {}
  std::shared_ptr<const State> state_;
};

}  // namespace pa
