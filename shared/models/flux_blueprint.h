#pragma once

#include <cstdint>
#include <vector>

#include "shared/core/result.h"
#include "shared/io/yaml.h"
#include "shared/models/blueprint.h"
#include "shared/models/weight_index.h"

namespace pa {

/// Sizes of a FLUX.1 network. Names and meaning are those of ComfyUI's constructor.
struct FluxConfig {
  std::int64_t in_channels = 0;  ///< Of the latent; a token is patch_size x patch_size of them.
  std::int64_t out_channels = 0;
  std::int64_t vec_in_dim = 0;      ///< Width of the pooled condition `y`.
  std::int64_t context_in_dim = 0;  ///< Width of a token of `context`.
  std::int64_t hidden_size = 0;
  std::int64_t num_heads = 0;
  std::int64_t mlp_size = 0;  ///< Inner width of the MLPs.
  std::int64_t depth = 0;     ///< Double blocks.
  std::int64_t depth_single_blocks = 0;
  std::vector<std::int64_t> axes_dim;  ///< Rotary dimensions an axis; they add up to head_size().
  double theta = 10000;                ///< Base of the rotary frequencies.
  std::int64_t patch_size = 2;
  bool qkv_bias = true;
  bool guidance_embed = false;

  [[nodiscard]] std::int64_t head_size() const { return hidden_size / num_heads; }
};

/// Whether these are the names of a FLUX network.
[[nodiscard]] bool looks_like_flux(const WeightIndex& weights, Naming naming);

/// The sizes, off the weights and, for what those do not tell, `config`, in whose file mistakes are
/// noted. Released models have 128 dimensions a head and rotary axes of 16, 56 and 56; other head
/// sizes need axes_dim.
///
/// Errors: kInvalid naming the tensor or the option, and what was expected.
[[nodiscard]] Result<FluxConfig> flux_config(const WeightIndex& weights, YamlMap config);

[[nodiscard]] Blueprint flux_blueprint(const FluxConfig& config);

}  // namespace pa
