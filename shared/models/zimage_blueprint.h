#pragma once

#include <cstdint>
#include <vector>

#include "shared/core/result.h"
#include "shared/io/yaml.h"
#include "shared/models/blueprint.h"
#include "shared/models/weight_index.h"

namespace pa {

/// Sizes of a Z-Image network. Names and meaning are those of ComfyUI's constructor.
struct ZImageConfig {
  std::int64_t in_channels = 0;
  std::int64_t patch_size = 2;
  std::int64_t dim = 0;
  std::int64_t n_layers = 0;
  std::int64_t n_refiner_layers = 0;  ///< Of the image, and as many of the caption.
  std::int64_t n_heads = 0;
  std::int64_t n_kv_heads = 0;
  std::int64_t ffn_size = 0;  ///< Inner width of the feed-forward layers.
  std::int64_t cap_feat_dim = 0;
  std::int64_t t_embed_hidden = 0;
  std::int64_t adaln_dim = 0;
  double norm_eps = 1e-5;
  /// Of the norms of queries and keys. ComfyUI leaves it at float32's resolution; diffusers has 1e-5.
  double qk_norm_eps = 1.1920929e-07;
  double rope_theta = 256;
  double time_scale = 1000;
  std::int64_t pad_tokens_multiple = 32;
  std::vector<std::int64_t> axes_dims;  ///< Rotary dimensions an axis; they add up to head_size().

  [[nodiscard]] std::int64_t head_size() const { return dim / n_heads; }
};

[[nodiscard]] bool looks_like_zimage(const WeightIndex& weights, Naming naming);

/// As flux_config(). Released models have 128 dimensions a head and rotary axes of 32, 48 and 48.
[[nodiscard]] Result<ZImageConfig> zimage_config(const WeightIndex& weights, YamlMap config);

[[nodiscard]] Blueprint zimage_blueprint(const ZImageConfig& config);

}  // namespace pa
