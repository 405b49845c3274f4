#include "shared/models/zimage_blueprint.h"

#include <algorithm>
#include <numeric>
#include <string>

#include "shared/models/config_reader.h"

namespace pa {
namespace {

constexpr std::int64_t kTimeFeatures = 256;

/// diffusers keeps embedders by patch size and frames a patch.
std::string by_patch(const char* name, std::int64_t patch) {
  return name + std::string(".") + std::to_string(patch) + "-1";
}

void add_block(Blueprint& blueprint, const ZImageConfig& config, const std::string& block,
               bool modulated) {
  const std::int64_t dim = config.dim;
  const std::int64_t head = config.head_size();
  const std::int64_t kv = config.n_kv_heads * head;
  const std::string attention = block + "attention.";
  blueprint.add(block + "attention_norm1.weight", {dim});
  blueprint.linear(attention + "qkv", dim + 2 * kv, dim, false,
                   {{attention + "to_q", dim}, {attention + "to_k", kv}, {attention + "to_v", kv}});
  blueprint.add(attention + "q_norm.weight", {head}, attention + "norm_q.weight");
  blueprint.add(attention + "k_norm.weight", {head}, attention + "norm_k.weight");
  blueprint.linear(attention + "out", dim, dim, false, {{attention + "to_out.0", dim}});
  blueprint.add(block + "attention_norm2.weight", {dim});
  blueprint.add(block + "ffn_norm1.weight", {dim});
  blueprint.linear(block + "feed_forward.w1", config.ffn_size, dim, false);
  blueprint.linear(block + "feed_forward.w3", config.ffn_size, dim, false);
  blueprint.linear(block + "feed_forward.w2", dim, config.ffn_size, false);
  blueprint.add(block + "ffn_norm2.weight", {dim});
  if (modulated) {
    blueprint.linear(block + "adaLN_modulation.0", 4 * dim, config.adaln_dim, true);
  }
}

}  // namespace

bool looks_like_zimage(const WeightIndex& weights, Naming naming) {
  if (!weights.has("cap_embedder.1.weight") || !weights.has("cap_pad_token") ||
      !weights.has("layers.0.feed_forward.w1.weight")) {
    return false;
  }
  const bool diffusers = weights.has("layers.0.attention.to_q.weight");
  return diffusers == (naming == Naming::kDiffusers);
}

Result<ZImageConfig> zimage_config(const WeightIndex& weights, YamlMap options) {
  ZImageConfig config;
  // Sizes of tables, and how the feed-forward width was found, change nothing here.
  ConfigReader reader(weights, "Z-Image", options,
                      {"adaln_dim",
                       "axes_dims",
                       "axes_lens",
                       "cap_feat_dim",
                       "dim",
                       "ffn_dim_multiplier",
                       "in_channels",
                       "multiple_of",
                       "n_heads",
                       "n_kv_heads",
                       "n_layers",
                       "n_refiner_layers",
                       "norm_eps",
                       "pad_tokens_multiple",
                       "patch_size",
                       "qk_norm",
                       "qk_norm_eps",
                       "rope_theta",
                       "t_embed_hidden",
                       "time_scale",
                       "z_image_modulation"});
  reader.free("patch_size", config.patch_size, {1, 64});
  reader.free("norm_eps", config.norm_eps, {1e-12, 1.0});
  reader.free("qk_norm_eps", config.qk_norm_eps, {1e-12, 1.0});
  reader.free("rope_theta", config.rope_theta, {1.0, 1e12});
  reader.free("time_scale", config.time_scale, {1e-6, 1e9});
  reader.free("pad_tokens_multiple", config.pad_tokens_multiple, {1, 1 << 16});
  reader.free("axes_dims", config.axes_dims);
  reader.known("qk_norm", true);
  reader.known("z_image_modulation", true);

  const std::vector<std::string> embedder{
      "x_embedder.weight", by_patch("all_x_embedder", config.patch_size) + ".weight"};
  config.dim = reader.size(embedder, 0);
  const std::int64_t token = reader.size(embedder, 1);
  config.cap_feat_dim = reader.size({"cap_embedder.1.weight"}, 1);
  config.t_embed_hidden = reader.size({"t_embedder.mlp.0.weight"}, 0);
  config.adaln_dim = reader.size({"t_embedder.mlp.2.weight"}, 0);
  config.ffn_size = reader.size({"layers.0.feed_forward.w1.weight"}, 0);
  const std::int64_t head =
      reader.size({"layers.0.attention.q_norm.weight", "layers.0.attention.norm_q.weight"}, 0);
  const bool split = weights.has("layers.0.attention.to_k.weight");
  const std::int64_t rows =
      reader.size({split ? "layers.0.attention.to_k.weight" : "layers.0.attention.qkv.weight"}, 0);
  PA_TRY(reader.status());
  const std::int64_t kv = split ? rows : (rows - config.dim) / 2;
  if (config.dim % head != 0 || kv < head || kv % head != 0) {
    return invalid("the width " + std::to_string(config.dim) + " and that of keys and values, " +
                   std::to_string(kv) + ", are no multiples of the head size " +
                   std::to_string(head));
  }
  config.n_heads = config.dim / head;
  config.n_kv_heads = kv / head;
  if (config.n_heads % config.n_kv_heads != 0) {
    return invalid("there are " + std::to_string(config.n_heads) + " heads of queries and " +
                   std::to_string(config.n_kv_heads) + " of keys; expected a multiple");
  }
  const std::int64_t patch = config.patch_size * config.patch_size;
  if (token % patch != 0) {
    return invalid("tensor 'x_embedder.weight' has tokens of " + std::to_string(token) +
                   " values; expected a multiple of " + std::to_string(patch) +
                   " with patch_size " + std::to_string(config.patch_size));
  }
  config.in_channels = token / patch;
  config.n_layers = weights.count("layers.");
  config.n_refiner_layers = weights.count("noise_refiner.");
  reader.known("in_channels", config.in_channels);
  reader.known("dim", config.dim);
  reader.known("n_layers", config.n_layers);
  reader.known("n_refiner_layers", config.n_refiner_layers);
  reader.known("n_heads", config.n_heads);
  reader.known("n_kv_heads", config.n_kv_heads);
  reader.known("cap_feat_dim", config.cap_feat_dim);
  reader.known("t_embed_hidden", config.t_embed_hidden);
  reader.known("adaln_dim", config.adaln_dim);

  if (config.axes_dims.empty()) {
    if (head != 128) {
      return invalid("config: axes_dims is needed for a head size of " + std::to_string(head) +
                     ": how many rotary dimensions the index, the row and the column get");
    }
    config.axes_dims = {32, 48, 48};
  }
  const bool even = std::all_of(config.axes_dims.begin(), config.axes_dims.end(),
                                [](std::int64_t dim) { return dim % 2 == 0; });
  const std::int64_t sum =
      std::accumulate(config.axes_dims.begin(), config.axes_dims.end(), std::int64_t{0});
  if (config.axes_dims.size() != 3 || !even || sum != head) {
    return invalid("config: axes_dims is " + to_string(config.axes_dims) +
                   "; expected three even numbers that add up to the head size, " +
                   std::to_string(head));
  }
  return config;
}

Blueprint zimage_blueprint(const ZImageConfig& config) {
  Blueprint blueprint;
  const std::int64_t dim = config.dim;
  const std::int64_t token = config.patch_size * config.patch_size * config.in_channels;
  const std::string final_layer = by_patch("all_final_layer", config.patch_size);
  blueprint.linear("t_embedder.mlp.0", config.t_embed_hidden, kTimeFeatures, true);
  blueprint.linear("t_embedder.mlp.2", config.adaln_dim, config.t_embed_hidden, true);
  blueprint.add("cap_embedder.0.weight", {config.cap_feat_dim});
  blueprint.linear("cap_embedder.1", dim, config.cap_feat_dim, true);
  blueprint.add("cap_pad_token", {1, dim});
  blueprint.linear("x_embedder", dim, token, true,
                   {{by_patch("all_x_embedder", config.patch_size), dim}});
  blueprint.add("x_pad_token", {1, dim});
  for (std::int64_t i = 0; i < config.n_refiner_layers; ++i) {
    add_block(blueprint, config, "noise_refiner." + std::to_string(i) + ".", true);
  }
  for (std::int64_t i = 0; i < config.n_refiner_layers; ++i) {
    add_block(blueprint, config, "context_refiner." + std::to_string(i) + ".", false);
  }
  for (std::int64_t i = 0; i < config.n_layers; ++i) {
    add_block(blueprint, config, "layers." + std::to_string(i) + ".", true);
  }
  blueprint.linear("final_layer.adaLN_modulation.1", dim, config.adaln_dim, true,
                   {{final_layer + ".adaLN_modulation.1", dim}});
  blueprint.linear("final_layer.linear", token, dim, true, {{final_layer + ".linear", token}});
  return blueprint;
}

}  // namespace pa
