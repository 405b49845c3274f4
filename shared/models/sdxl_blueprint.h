#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "shared/core/result.h"
#include "shared/io/yaml.h"
#include "shared/models/blueprint.h"
#include "shared/models/weight_index.h"

namespace pa {

/// Sizes of an SDXL UNet. Names and meaning are those of ComfyUI's constructor.
struct SdxlConfig {
  std::int64_t in_channels = 0;
  std::int64_t out_channels = 0;
  std::int64_t model_channels = 0;
  std::int64_t adm_in_channels = 0;  ///< Width of the pooled condition `y`.
  std::int64_t context_dim = 0;      ///< Width of a token of `context`.
  std::int64_t num_head_channels = 64;
  std::vector<std::int64_t> channel_mult;    ///< A level: its channels by model_channels.
  std::vector<std::int64_t> num_res_blocks;  ///< A level, on the way down; one more on the way up.
  std::vector<std::int64_t> transformer_depth;  ///< A residual block of the way down; 0: none.
  std::int64_t transformer_depth_middle = 0;    ///< -1: one residual block only; -2: no middle.
  /// A residual block of the way up, in reverse: the last number is the first block's.
  std::vector<std::int64_t> transformer_depth_output;
  bool use_linear_in_transformer =
      true;  ///< False: its projections are stored as 1x1 convolutions.
};

/// A residual block of the UNet, and what follows it. Layers are named as in the weights, empty if
/// there is none; `_other` is diffusers' name.
struct SdxlBlock {
  std::string residual, residual_other;
  std::int64_t in_channels = 0;  ///< On the way up: with the skipped ones.
  std::int64_t out_channels = 0;
  std::string transformer, transformer_other;
  std::int64_t depth = 0;
  std::string resample, resample_other;  ///< The convolution that halves or doubles the size.
};

/// The UNet as a list of blocks in the order of evaluation. Every block of the way down leaves its
/// result for the way up, once before and once after `resample`; the first convolution leaves one.
struct SdxlLayout {
  std::vector<SdxlBlock> down;
  std::vector<SdxlBlock> middle;
  std::vector<SdxlBlock> up;
};

[[nodiscard]] SdxlLayout sdxl_layout(const SdxlConfig& config);

[[nodiscard]] bool looks_like_sdxl(const WeightIndex& weights, Naming naming);

/// As flux_config(). Released models have 64 channels a head; others need num_head_channels.
[[nodiscard]] Result<SdxlConfig> sdxl_config(const WeightIndex& weights, YamlMap config);

[[nodiscard]] Blueprint sdxl_blueprint(const SdxlConfig& config);

}  // namespace pa
