#include "worker/models/flux_config.h"

#include <algorithm>
#include <numeric>
#include <string>

namespace pa {
namespace {

const YamlRange<std::int64_t> kSize{1, 1 << 20};

void read(YamlMap& config, std::string_view key, std::optional<std::int64_t>& out) {
  std::int64_t value = 0;
  if (config.read_integer(key, value, kSize)) out = value;
}

/// The value that is there, unless `option` wants another.
template <class T>
Status agree(std::string_view name, T found, const std::optional<T>& option) {
  if (!option || *option == found) return {};
  return invalid("config: " + std::string(name) + " is " + std::to_string(*option) +
                 ", but the weights say " + std::to_string(found));
}

}  // namespace

FluxOptions read_flux_options(YamlMap config) {
  FluxOptions options;
  if (const std::optional<YamlValue> axes = config.find("axes_dim")) {
    for (const YamlValue& axis : axes->list()) {
      options.axes_dim.push_back(axis.integer({0, 1 << 16}).value_or(0));
    }
  }
  double theta = 0;
  if (config.read_number("theta", theta, {1.0, 1e12})) options.theta = theta;
  read(config, "patch_size", options.patch_size);
  read(config, "num_heads", options.num_heads);
  read(config, "hidden_size", options.hidden_size);
  read(config, "depth", options.depth);
  read(config, "depth_single_blocks", options.depth_single_blocks);
  bool guidance_embed = false;
  if (config.read_boolean("guidance_embed", guidance_embed)) {
    options.guidance_embed = guidance_embed;
  }
  return options;
}

bool looks_like_flux(const WeightFiles& weights) {
  return weights.has("img_in.weight") && weights.has("txt_in.weight") &&
         weights.has("double_blocks.0.img_attn.qkv.weight") &&
         weights.has("double_blocks.0.img_attn.norm.query_norm.scale");
}

Result<FluxConfig> flux_config(const WeightFiles& weights, const FluxOptions& options) {
  FluxConfig config;
  config.patch_size = options.patch_size.value_or(2);
  config.theta = options.theta.value_or(10000.0);
  const std::int64_t patch = config.patch_size * config.patch_size;

  Status found;
  const auto size = [&](const std::string& name, std::size_t axis) {
    const std::int64_t value = weights.size(name, axis);
    if (value < 1 && found.ok()) {
      found = invalid("tensor '" + name + "' is missing or has no axis " + std::to_string(axis) +
                      "; a FLUX network needs it");
    }
    return value;
  };
  config.hidden_size = size("img_in.weight", 0);
  const std::int64_t token_in = size("img_in.weight", 1);
  const std::int64_t token_out = size("final_layer.linear.weight", 0);
  config.context_in_dim = size("txt_in.weight", 1);
  config.vec_in_dim = size("vector_in.in_layer.weight", 1);
  config.depth = weights.count("double_blocks.");
  config.depth_single_blocks = weights.count("single_blocks.");
  const std::int64_t head = size("double_blocks.0.img_attn.norm.query_norm.scale", 0);
  config.mlp_size = size("double_blocks.0.img_mlp.0.weight", 0);
  config.qkv_bias = weights.has("double_blocks.0.img_attn.qkv.bias");
  config.guidance_embed = weights.has("guidance_in.in_layer.weight");
  PA_TRY(found);

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
  PA_TRY(agree("num_heads", config.num_heads, options.num_heads));
  PA_TRY(agree("hidden_size", config.hidden_size, options.hidden_size));
  PA_TRY(agree("depth", config.depth, options.depth));
  PA_TRY(agree("depth_single_blocks", config.depth_single_blocks, options.depth_single_blocks));
  PA_TRY(agree("guidance_embed", config.guidance_embed, options.guidance_embed));

  config.axes_dim = options.axes_dim;
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

}  // namespace pa
