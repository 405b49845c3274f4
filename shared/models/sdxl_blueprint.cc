#include "shared/models/sdxl_blueprint.h"

#include <algorithm>

#include "shared/models/config_reader.h"

namespace pa {
namespace {

constexpr std::int64_t kNormGroups = 32;

std::string dotted(const std::string& prefix, std::size_t i) {
  return prefix + "." + std::to_string(i);
}

/// Reads the way down off the original names.
void read_original(const WeightIndex& weights, ConfigReader& reader, SdxlConfig& config) {
  const std::int64_t inputs = weights.count("input_blocks.");
  std::int64_t channels = config.model_channels;
  std::int64_t residuals = 0;
  const auto end_level = [&] {
    config.channel_mult.push_back(channels / config.model_channels);
    config.num_res_blocks.push_back(residuals);
    residuals = 0;
  };
  for (std::int64_t i = 1; i < inputs; ++i) {
    const std::string block = "input_blocks." + std::to_string(i);
    if (weights.has(block + ".0.op.weight")) {
      end_level();
      continue;
    }
    channels = reader.size({block + ".0.out_layers.3.weight"}, 0);
    config.transformer_depth.push_back(weights.count(block + ".1.transformer_blocks."));
    ++residuals;
  }
  end_level();
  const std::int64_t outputs = weights.count("output_blocks.");
  for (std::int64_t i = outputs - 1; i >= 0; --i) {
    config.transformer_depth_output.push_back(
        weights.count("output_blocks." + std::to_string(i) + ".1.transformer_blocks."));
  }
  config.transformer_depth_middle = weights.has("middle_block.2.in_layers.0.weight")
                                        ? weights.count("middle_block.1.transformer_blocks.")
                                    : weights.has("middle_block.0.in_layers.0.weight") ? -1
                                                                                       : -2;
}

/// As read_original(), off diffusers' names.
void read_diffusers(const WeightIndex& weights, ConfigReader& reader, SdxlConfig& config) {
  const std::int64_t levels = weights.count("down_blocks.");
  for (std::int64_t level = 0; level < levels; ++level) {
    const std::string block = "down_blocks." + std::to_string(level) + ".";
    const std::int64_t residuals = weights.count(block + "resnets.");
    const std::int64_t channels = reader.size({block + "resnets.0.conv1.weight"}, 0);
    config.channel_mult.push_back(channels / config.model_channels);
    config.num_res_blocks.push_back(residuals);
    for (std::int64_t i = 0; i < residuals; ++i) {
      config.transformer_depth.push_back(
          weights.count(block + "attentions." + std::to_string(i) + ".transformer_blocks."));
    }
  }
  for (std::int64_t up = levels - 1; up >= 0; --up) {
    const std::string block = "up_blocks." + std::to_string(up) + ".";
    for (std::int64_t i = weights.count(block + "resnets.") - 1; i >= 0; --i) {
      config.transformer_depth_output.push_back(
          weights.count(block + "attentions." + std::to_string(i) + ".transformer_blocks."));
    }
  }
  config.transformer_depth_middle =
      weights.has("mid_block.resnets.1.conv1.weight")
          ? weights.count("mid_block.attentions.0.transformer_blocks.")
      : weights.has("mid_block.resnets.0.conv1.weight") ? -1
                                                        : -2;
}

Status check(const SdxlConfig& config) {
  std::int64_t down = 0;
  for (const std::int64_t residuals : config.num_res_blocks) down += residuals;
  const auto levels = std::ssize(config.channel_mult);
  if (levels == 0 || down < levels || std::ssize(config.transformer_depth) != down) {
    return invalid("the residual blocks of the way down are not complete: there are " +
                   std::to_string(down) + " on " + std::to_string(levels) + " levels");
  }
  if (std::ssize(config.transformer_depth_output) != down + levels) {
    return invalid("the way up has " + std::to_string(config.transformer_depth_output.size()) +
                   " residual blocks; expected " + std::to_string(down + levels) +
                   ", one a level more than the way down");
  }
  for (const std::int64_t mult : config.channel_mult) {
    const std::int64_t channels = mult * config.model_channels;
    if (mult < 1 || channels % kNormGroups != 0 || channels % config.num_head_channels != 0) {
      return invalid("a level has " + std::to_string(channels) +
                     " channels; expected a multiple of " + std::to_string(kNormGroups) +
                     " and of num_head_channels, " + std::to_string(config.num_head_channels) +
                     ", which model.yaml may set under config");
    }
  }
  return {};
}

void add_residual(Blueprint& blueprint, const SdxlConfig& config, const SdxlBlock& block) {
  const std::string name = block.residual + ".";
  const std::string other = block.residual_other + ".";
  blueprint.norm(name + "in_layers.0", block.in_channels, other + "norm1");
  blueprint.convolution(name + "in_layers.2", block.out_channels, block.in_channels, 3,
                        other + "conv1");
  blueprint.linear(name + "emb_layers.1", block.out_channels, 4 * config.model_channels, true,
                   {{other + "time_emb_proj", block.out_channels}});
  blueprint.norm(name + "out_layers.0", block.out_channels, other + "norm2");
  blueprint.convolution(name + "out_layers.3", block.out_channels, block.out_channels, 3,
                        other + "conv2");
  if (block.in_channels != block.out_channels) {
    blueprint.convolution(name + "skip_connection", block.out_channels, block.in_channels, 1,
                          other + "conv_shortcut");
  }
}

void add_attention(Blueprint& blueprint, const std::string& name, const std::string& other,
                   std::int64_t channels, std::int64_t context) {
  blueprint.linear(name + ".to_q", channels, channels, false, {{other + ".to_q", channels}});
  blueprint.linear(name + ".to_k", channels, context, false, {{other + ".to_k", channels}});
  blueprint.linear(name + ".to_v", channels, context, false, {{other + ".to_v", channels}});
  blueprint.linear(name + ".to_out.0", channels, channels, true, {{other + ".to_out.0", channels}});
}

void add_transformer(Blueprint& blueprint, const SdxlConfig& config, const SdxlBlock& block) {
  const std::int64_t channels = block.out_channels;
  const std::string& name = block.transformer;
  const std::string& other = block.transformer_other;
  const auto projection = [&](const std::string& which) {
    if (config.use_linear_in_transformer) {
      blueprint.linear(name + which, channels, channels, true, {{other + which, channels}});
    } else {
      blueprint.convolution(name + which, channels, channels, 1, other + which);
    }
  };
  blueprint.norm(name + ".norm", channels, other + ".norm");
  projection(".proj_in");
  for (std::int64_t i = 0; i < block.depth; ++i) {
    const std::string inner = ".transformer_blocks." + std::to_string(i) + ".";
    blueprint.norm(name + inner + "norm1", channels, other + inner + "norm1");
    add_attention(blueprint, name + inner + "attn1", other + inner + "attn1", channels, channels);
    blueprint.norm(name + inner + "norm2", channels, other + inner + "norm2");
    add_attention(blueprint, name + inner + "attn2", other + inner + "attn2", channels,
                  config.context_dim);
    blueprint.norm(name + inner + "norm3", channels, other + inner + "norm3");
    blueprint.linear(name + inner + "ff.net.0.proj", 8 * channels, channels, true,
                     {{other + inner + "ff.net.0.proj", 8 * channels}});
    blueprint.linear(name + inner + "ff.net.2", channels, 4 * channels, true,
                     {{other + inner + "ff.net.2", channels}});
  }
  projection(".proj_out");
}

void add_block(Blueprint& blueprint, const SdxlConfig& config, const SdxlBlock& block) {
  if (!block.residual.empty()) add_residual(blueprint, config, block);
  if (!block.transformer.empty()) add_transformer(blueprint, config, block);
  if (!block.resample.empty()) {
    blueprint.convolution(block.resample, block.out_channels, block.out_channels, 3,
                          block.resample_other);
  }
}

}  // namespace

SdxlLayout sdxl_layout(const SdxlConfig& config) {
  SdxlLayout layout;
  const std::size_t levels = config.channel_mult.size();
  std::vector<std::int64_t> skipped{config.model_channels};
  std::int64_t channels = config.model_channels;
  std::size_t input = 1;
  std::size_t number = 0;  // Of residual blocks so far.
  for (std::size_t level = 0; level < levels; ++level) {
    const std::string other = dotted("down_blocks", level);
    const auto count = static_cast<std::size_t>(config.num_res_blocks[level]);
    for (std::size_t i = 0; i < count; ++i, ++input, ++number) {
      SdxlBlock block;
      block.residual = dotted("input_blocks", input) + ".0";
      block.residual_other = dotted(other + ".resnets", i);
      block.in_channels = channels;
      channels = block.out_channels = config.channel_mult[level] * config.model_channels;
      block.depth = config.transformer_depth[number];
      if (block.depth > 0) {
        block.transformer = dotted("input_blocks", input) + ".1";
        block.transformer_other = dotted(other + ".attentions", i);
      }
      skipped.push_back(channels);
      layout.down.push_back(std::move(block));
    }
    if (level + 1 == levels) break;
    layout.down.back().resample = dotted("input_blocks", input) + ".0.op";
    layout.down.back().resample_other = other + ".downsamplers.0.conv";
    skipped.push_back(channels);
    ++input;
  }

  if (config.transformer_depth_middle >= -1) {
    SdxlBlock block;
    block.residual = "middle_block.0";
    block.residual_other = "mid_block.resnets.0";
    block.in_channels = block.out_channels = channels;
    if (config.transformer_depth_middle >= 0) {
      block.transformer = "middle_block.1";
      block.transformer_other = "mid_block.attentions.0";
      block.depth = config.transformer_depth_middle;
    }
    layout.middle.push_back(std::move(block));
  }
  if (config.transformer_depth_middle >= 0) {
    SdxlBlock block;
    block.residual = "middle_block.2";
    block.residual_other = "mid_block.resnets.1";
    block.in_channels = block.out_channels = channels;
    layout.middle.push_back(std::move(block));
  }

  std::size_t output = 0;
  for (std::size_t level = levels; level-- > 0;) {
    const std::string other = dotted("up_blocks", levels - 1 - level);
    const auto count = static_cast<std::size_t>(config.num_res_blocks[level]) + 1;
    for (std::size_t i = 0; i < count; ++i, ++output) {
      SdxlBlock block;
      const std::string name = dotted("output_blocks", output);
      block.residual = name + ".0";
      block.residual_other = dotted(other + ".resnets", i);
      block.in_channels = channels + skipped.back();
      skipped.pop_back();
      channels = block.out_channels = config.channel_mult[level] * config.model_channels;
      block.depth =
          config.transformer_depth_output[config.transformer_depth_output.size() - 1 - output];
      if (block.depth > 0) {
        block.transformer = name + ".1";
        block.transformer_other = dotted(other + ".attentions", i);
      }
      if (level > 0 && i + 1 == count) {
        block.resample = name + (block.depth > 0 ? ".2" : ".1") + ".conv";
        block.resample_other = other + ".upsamplers.0.conv";
      }
      layout.up.push_back(std::move(block));
    }
  }
  return layout;
}

bool looks_like_sdxl(const WeightIndex& weights, Naming naming) {
  if (naming == Naming::kDiffusers) {
    return weights.has("conv_in.weight") && weights.has("add_embedding.linear_1.weight") &&
           weights.has("down_blocks.0.resnets.0.conv1.weight");
  }
  return weights.has("input_blocks.0.0.weight") && weights.has("label_emb.0.0.weight");
}

Result<SdxlConfig> sdxl_config(const WeightIndex& weights, YamlMap options) {
  SdxlConfig config;
  // How the network is trained, and what it was trained on, change nothing here.
  ConfigReader reader(
      weights, "SDXL", options,
      {"adm_in_channels", "channel_mult", "context_dim", "image_size", "in_channels", "legacy",
       "model_channels", "num_classes", "num_head_channels", "num_res_blocks", "out_channels",
       "transformer_depth", "transformer_depth_middle", "transformer_depth_output",
       "use_checkpoint", "use_linear_in_transformer", "use_spatial_transformer",
       "use_temporal_attention", "use_temporal_resblock"});
  reader.free("num_head_channels", config.num_head_channels, {1, 1 << 16});
  reader.known("use_spatial_transformer", true);

  const std::vector<std::string> first{"input_blocks.0.0.weight", "conv_in.weight"};
  config.model_channels = reader.size(first, 0);
  config.in_channels = reader.size(first, 1);
  config.out_channels = reader.size({"out.2.weight", "conv_out.weight"}, 0);
  config.adm_in_channels =
      reader.size({"label_emb.0.0.weight", "add_embedding.linear_1.weight"}, 1);
  PA_TRY(reader.status());
  if (weights.has("conv_in.weight")) {
    read_diffusers(weights, reader, config);
  } else {
    read_original(weights, reader, config);
  }
  PA_TRY(reader.status());

  const auto& tensors = weights.tensors();
  const auto of = [&](std::string_view ending) {
    const auto found = std::find_if(tensors.begin(), tensors.end(), [&](const auto& entry) {
      return entry.first.ends_with(ending);
    });
    return found == tensors.end() ? Shape{} : found->second.view.spec.shape;
  };
  const Shape key = of(".attn2.to_k.weight");
  if (key.size() != 2) {
    return invalid("no tensor '...attn2.to_k.weight' is there; an SDXL network attends to text");
  }
  config.context_dim = key[1];
  config.use_linear_in_transformer = of(".proj_in.weight").size() == 2;
  PA_TRY(check(config));

  reader.known("in_channels", config.in_channels);
  reader.known("out_channels", config.out_channels);
  reader.known("model_channels", config.model_channels);
  reader.known("adm_in_channels", config.adm_in_channels);
  reader.known("context_dim", config.context_dim);
  reader.known("channel_mult", config.channel_mult);
  reader.known("num_res_blocks", config.num_res_blocks);
  reader.known("transformer_depth", config.transformer_depth);
  reader.known("transformer_depth_middle", config.transformer_depth_middle);
  reader.known("transformer_depth_output", config.transformer_depth_output);
  reader.known("use_linear_in_transformer", config.use_linear_in_transformer);
  return config;
}

Blueprint sdxl_blueprint(const SdxlConfig& config) {
  Blueprint blueprint;
  const std::int64_t channels = config.model_channels;
  const std::int64_t wide = 4 * channels;
  blueprint.linear("time_embed.0", wide, channels, true, {{"time_embedding.linear_1", wide}});
  blueprint.linear("time_embed.2", wide, wide, true, {{"time_embedding.linear_2", wide}});
  blueprint.linear("label_emb.0.0", wide, config.adm_in_channels, true,
                   {{"add_embedding.linear_1", wide}});
  blueprint.linear("label_emb.0.2", wide, wide, true, {{"add_embedding.linear_2", wide}});
  blueprint.convolution("input_blocks.0.0", channels, config.in_channels, 3, "conv_in");
  const SdxlLayout layout = sdxl_layout(config);
  for (const auto* const blocks : {&layout.down, &layout.middle, &layout.up}) {
    for (const SdxlBlock& block : *blocks) add_block(blueprint, config, block);
  }
  blueprint.norm("out.0", layout.up.back().out_channels, "conv_norm_out");
  blueprint.convolution("out.2", config.out_channels, channels, 3, "conv_out");
  return blueprint;
}

}  // namespace pa
