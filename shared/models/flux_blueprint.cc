#include "shared/models/flux_blueprint.h"

#include <algorithm>
#include <numeric>
#include <string>

#include "shared/models/config_reader.h"

namespace pa {
namespace {

constexpr std::int64_t kTimeFeatures = 256;

std::string numbered(const char* prefix, std::int64_t i) {
  return prefix + std::to_string(i) + ".";
}

/// A double block's side: "img" or "txt".
void add_stream(Blueprint& blueprint, const FluxConfig& config, std::int64_t i, bool image) {
  const std::string block = numbered("double_blocks.", i) + (image ? "img" : "txt");
  const std::string other = numbered("transformer_blocks.", i);
  const std::string attention = other + "attn.";
  const std::int64_t hidden = config.hidden_size;
  blueprint.linear(block + "_mod.lin", 6 * hidden, hidden, true,
                   {{other + (image ? "norm1.linear" : "norm1_context.linear"), 6 * hidden}});
  std::vector<LayerPart> qkv;
  for (const char* const name : {"q", "k", "v"}) {
    qkv.emplace_back(
        attention + (image ? "to_" + std::string(name) : "add_" + std::string(name) + "_proj"),
        hidden);
  }
  blueprint.linear(block + "_attn.qkv", 3 * hidden, hidden, config.qkv_bias, qkv);
  for (const auto& [name, short_name] : {std::pair{"query", "q"}, {"key", "k"}}) {
    blueprint.add(block + "_attn.norm." + name + "_norm.scale", {config.head_size()},
                  attention + (image ? "norm_" : "norm_added_") + short_name + ".weight");
  }
  blueprint.linear(block + "_attn.proj", hidden, hidden, true,
                   {{attention + (image ? "to_out.0" : "to_add_out"), hidden}});
  const std::string feed = other + (image ? "ff.net." : "ff_context.net.");
  blueprint.linear(block + "_mlp.0", config.mlp_size, hidden, true,
                   {{feed + "0.proj", config.mlp_size}});
  blueprint.linear(block + "_mlp.2", hidden, config.mlp_size, true, {{feed + "2", hidden}});
}

void add_single(Blueprint& blueprint, const FluxConfig& config, std::int64_t i) {
  const std::string block = numbered("single_blocks.", i);
  const std::string other = numbered("single_transformer_blocks.", i);
  const std::int64_t hidden = config.hidden_size;
  blueprint.linear(block + "modulation.lin", 3 * hidden, hidden, true,
                   {{other + "norm.linear", 3 * hidden}});
  blueprint.linear(block + "linear1", 3 * hidden + config.mlp_size, hidden, true,
                   {{other + "attn.to_q", hidden},
                    {other + "attn.to_k", hidden},
                    {other + "attn.to_v", hidden},
                    {other + "proj_mlp", config.mlp_size}});
  for (const auto& [name, short_name] : {std::pair{"query", "q"}, {"key", "k"}}) {
    blueprint.add(block + "norm." + name + "_norm.scale", {config.head_size()},
                  other + "attn.norm_" + short_name + ".weight");
  }
  blueprint.linear(block + "linear2", hidden, hidden + config.mlp_size, true,
                   {{other + "proj_out", hidden}});
}

void add_embedder(Blueprint& blueprint, const FluxConfig& config, const std::string& name,
                  const std::string& other, std::int64_t in) {
  const std::int64_t hidden = config.hidden_size;
  blueprint.linear(name + ".in_layer", hidden, in, true, {{other + ".linear_1", hidden}});
  blueprint.linear(name + ".out_layer", hidden, hidden, true, {{other + ".linear_2", hidden}});
}

}  // namespace

bool looks_like_flux(const WeightIndex& weights, Naming naming) {
  if (naming == Naming::kDiffusers) {
    return weights.has("x_embedder.weight") && weights.has("context_embedder.weight") &&
           (weights.has("transformer_blocks.0.norm1_context.linear.weight") ||
            weights.has("single_transformer_blocks.0.proj_mlp.weight"));
  }
  return weights.has("img_in.weight") && weights.has("txt_in.weight") &&
         (weights.has("double_blocks.0.img_attn.norm.query_norm.scale") ||
          weights.has("single_blocks.0.norm.query_norm.scale"));
}

Result<FluxConfig> flux_config(const WeightIndex& weights, YamlMap options) {
  FluxConfig config;
  ConfigReader reader(weights, "FLUX", options,
                      {"axes_dim", "context_in_dim", "depth", "depth_single_blocks",
                       "guidance_embed", "hidden_size", "in_channels", "mlp_ratio", "num_heads",
                       "out_channels", "patch_size", "qkv_bias", "theta", "vec_in_dim"});
  reader.free("patch_size", config.patch_size, {1, 64});
  reader.free("theta", config.theta, {1.0, 1e12});
  reader.free("axes_dim", config.axes_dim);

  config.hidden_size = reader.size({"img_in.weight", "x_embedder.weight"}, 0);
  const std::int64_t token_in = reader.size({"img_in.weight", "x_embedder.weight"}, 1);
  const std::int64_t token_out = reader.size({"final_layer.linear.weight", "proj_out.weight"}, 0);
  config.context_in_dim = reader.size({"txt_in.weight", "context_embedder.weight"}, 1);
  config.vec_in_dim = reader.size(
      {"vector_in.in_layer.weight", "time_text_embed.text_embedder.linear_1.weight"}, 1);
  const std::int64_t head = reader.size(
      {"double_blocks.0.img_attn.norm.query_norm.scale", "single_blocks.0.norm.query_norm.scale",
       "transformer_blocks.0.attn.norm_q.weight", "single_transformer_blocks.0.attn.norm_q.weight"},
      0);
  config.depth = std::max(weights.count("double_blocks."), weights.count("transformer_blocks."));
  config.depth_single_blocks =
      std::max(weights.count("single_blocks."), weights.count("single_transformer_blocks."));
  if (config.depth == 0 && weights.has("single_blocks.0.linear1.weight")) {
    config.mlp_size = reader.size({"single_blocks.0.linear1.weight"}, 0) - 3 * config.hidden_size;
  } else {
    config.mlp_size = reader.size(
        {"double_blocks.0.img_mlp.0.weight", "transformer_blocks.0.ff.net.0.proj.weight",
         "single_transformer_blocks.0.proj_mlp.weight"},
        0);
  }
  PA_TRY(reader.status());
  config.qkv_bias = config.depth == 0 || weights.has("double_blocks.0.img_attn.qkv.bias") ||
                    weights.has("transformer_blocks.0.attn.to_q.bias");
  config.guidance_embed = weights.has("guidance_in.in_layer.weight") ||
                          weights.has("time_text_embed.guidance_embedder.linear_1.weight");

  const std::int64_t patch = config.patch_size * config.patch_size;
  for (const auto& [name, tokens] :
       {std::pair{"img_in.weight", token_in}, {"final_layer.linear.weight", token_out}}) {
    if (tokens % patch != 0) {
      return invalid("tensor '" + std::string(name) + "' has tokens of " + std::to_string(tokens) +
                     " values; expected a multiple of " + std::to_string(patch) +
                     " with patch_size " + std::to_string(config.patch_size));
    }
  }
  if (config.hidden_size % head != 0) {
    return invalid("the hidden size " + std::to_string(config.hidden_size) +
                   " is no multiple of the head size " + std::to_string(head));
  }
  config.in_channels = token_in / patch;
  config.out_channels = token_out / patch;
  config.num_heads = config.hidden_size / head;
  reader.known("in_channels", config.in_channels);
  reader.known("out_channels", config.out_channels);
  reader.known("vec_in_dim", config.vec_in_dim);
  reader.known("context_in_dim", config.context_in_dim);
  reader.known("hidden_size", config.hidden_size);
  reader.known("num_heads", config.num_heads);
  reader.known("depth", config.depth);
  reader.known("depth_single_blocks", config.depth_single_blocks);
  reader.known("qkv_bias", config.qkv_bias);
  reader.known("guidance_embed", config.guidance_embed);
  reader.known_ratio(
      "mlp_ratio", static_cast<double>(config.mlp_size) / static_cast<double>(config.hidden_size));

  if (config.axes_dim.empty()) {
    if (head != 128) {
      return invalid("config: axes_dim is needed for a head size of " + std::to_string(head) +
                     ": how many rotary dimensions the index, the row and the column get");
    }
    config.axes_dim = {16, 56, 56};
  }
  const bool even = std::all_of(config.axes_dim.begin(), config.axes_dim.end(),
                                [](std::int64_t dim) { return dim % 2 == 0; });
  const std::int64_t sum =
      std::accumulate(config.axes_dim.begin(), config.axes_dim.end(), std::int64_t{0});
  if (config.axes_dim.size() != 3 || !even || sum != head) {
    return invalid("config: axes_dim is " + to_string(config.axes_dim) +
                   "; expected three even numbers that add up to the head size, " +
                   std::to_string(head));
  }
  return config;
}

Blueprint flux_blueprint(const FluxConfig& config) {
  Blueprint blueprint;
  const std::int64_t hidden = config.hidden_size;
  const std::int64_t patch = config.patch_size * config.patch_size;
  blueprint.linear("img_in", hidden, patch * config.in_channels, true, {{"x_embedder", hidden}});
  blueprint.linear("txt_in", hidden, config.context_in_dim, true, {{"context_embedder", hidden}});
  const std::string embed = "time_text_embed.";
  add_embedder(blueprint, config, "time_in", embed + "timestep_embedder", kTimeFeatures);
  add_embedder(blueprint, config, "vector_in", embed + "text_embedder", config.vec_in_dim);
  if (config.guidance_embed) {
    add_embedder(blueprint, config, "guidance_in", embed + "guidance_embedder", kTimeFeatures);
  }
  for (std::int64_t i = 0; i < config.depth; ++i) {
    add_stream(blueprint, config, i, true);
    add_stream(blueprint, config, i, false);
  }
  for (std::int64_t i = 0; i < config.depth_single_blocks; ++i) add_single(blueprint, config, i);
  // The makers' rows are shift, then scale; diffusers' scale, then shift.
  blueprint.linear_of_parts("final_layer.adaLN_modulation.1", 2 * hidden, hidden, true,
                            {{"norm_out.linear", hidden, hidden, 2 * hidden},
                             {"norm_out.linear", 0, hidden, 2 * hidden}});
  const std::int64_t out = patch * config.out_channels;
  blueprint.linear("final_layer.linear", out, hidden, true, {{"proj_out", out}});
  return blueprint;
}

}  // namespace pa
