#include "worker/models/sdxl.h"

#include <ATen/ATen.h>

#include <optional>
#include <string>
#include <utility>

#include "worker/models/layers.h"

namespace pa {
namespace {

constexpr std::int64_t kGroups = 32;
constexpr double kEpsilon = 1e-5;             // Of all norms but:
constexpr double kTransformerEpsilon = 1e-6;  // the group norm before a transformer.

/// A norm's scale and shift.
struct Affine {
  const at::Tensor* weight = nullptr;
  const at::Tensor* bias = nullptr;
};

Affine affine_of(const Weights& weights, const std::string& name) {
  return {weights.at(name + ".weight"), weights.at(name + ".bias")};
}

at::Tensor group_norm(const at::Tensor& x, const Affine& affine, double epsilon) {
  return at::group_norm(x, kGroups, *affine.weight, *affine.bias, epsilon);
}

at::Tensor activated_norm(const at::Tensor& x, const Affine& affine) {
  at::Tensor y = group_norm(x, affine, kEpsilon);
  return at::silu_(y);
}

at::Tensor layer_norm(const at::Tensor& x, const Affine& affine) {
  return at::layer_norm(x, {x.size(-1)}, *affine.weight, *affine.bias, kEpsilon);
}

struct Residual {
  Affine norm1;
  Convolution conv1;
  Linear time;
  Affine norm2;
  Convolution conv2;
  std::optional<Convolution> skip;
};

struct Attention {
  Linear q, k, v, out;
};

struct TransformerBlock {
  Affine norm1;
  Attention self;
  Affine norm2;
  Attention cross;
  Affine norm3;
  Linear feed_in;  // Values, then gates.
  Linear feed_out;
};

struct Transformer {
  Affine norm;
  Linear in;
  std::vector<TransformerBlock> blocks;
  Linear out;
};

struct Block {
  Residual residual;
  std::optional<Transformer> transformer;
  std::optional<Convolution> resample;
};

Residual residual_of(const Weights& weights, const std::string& name) {
  Residual residual{affine_of(weights, name + ".in_layers.0"),
                    convolution_of(weights, name + ".in_layers.2"),
                    linear_of(weights, name + ".emb_layers.1"),
                    affine_of(weights, name + ".out_layers.0"),
                    convolution_of(weights, name + ".out_layers.3"),
                    std::nullopt};
  if (weights.find(name + ".skip_connection.weight") != nullptr) {
    residual.skip = convolution_of(weights, name + ".skip_connection");
  }
  return residual;
}

Attention attention_of(const Weights& weights, const std::string& name) {
  return {linear_of(weights, name + ".to_q"), linear_of(weights, name + ".to_k"),
          linear_of(weights, name + ".to_v"), linear_of(weights, name + ".to_out.0")};
}

Transformer transformer_of(const Weights& weights, const std::string& name, std::int64_t depth) {
  Transformer transformer;
  transformer.norm = affine_of(weights, name + ".norm");
  transformer.in = linear_of(weights, name + ".proj_in");
  for (std::int64_t i = 0; i < depth; ++i) {
    const std::string block = name + ".transformer_blocks." + std::to_string(i);
    transformer.blocks.push_back(
        {affine_of(weights, block + ".norm1"), attention_of(weights, block + ".attn1"),
         affine_of(weights, block + ".norm2"), attention_of(weights, block + ".attn2"),
         affine_of(weights, block + ".norm3"), linear_of(weights, block + ".ff.net.0.proj"),
         linear_of(weights, block + ".ff.net.2")});
  }
  transformer.out = linear_of(weights, name + ".proj_out");
  return transformer;
}

Block block_of(const Weights& weights, const SdxlBlock& plan, std::int64_t stride) {
  Block block{residual_of(weights, plan.residual), std::nullopt, std::nullopt};
  if (!plan.transformer.empty()) {
    block.transformer = transformer_of(weights, plan.transformer, plan.depth);
  }
  if (!plan.resample.empty()) block.resample = convolution_of(weights, plan.resample, stride);
  return block;
}

class Sdxl : public Network {
 public:
  Sdxl(const Weights& weights, const SdxlConfig& config, std::vector<InputSpec> inputs)
      : config_(config),
        dtype_(weights.dtype()),
        inputs_(std::move(inputs)),
        features_(config.model_channels) {
    time_in_ = {linear_of(weights, "time_embed.0"), linear_of(weights, "time_embed.2")};
    label_in_ = {linear_of(weights, "label_emb.0.0"), linear_of(weights, "label_emb.0.2")};
    first_ = convolution_of(weights, "input_blocks.0.0");
    const SdxlLayout layout = sdxl_layout(config);
    for (const SdxlBlock& plan : layout.down) down_.push_back(block_of(weights, plan, 2));
    for (const SdxlBlock& plan : layout.middle) middle_.push_back(block_of(weights, plan, 1));
    for (const SdxlBlock& plan : layout.up) up_.push_back(block_of(weights, plan, 1));
    norm_ = affine_of(weights, "out.0");
    last_ = convolution_of(weights, "out.2");
  }

  [[nodiscard]] const std::vector<InputSpec>& input_contract() const override { return inputs_; }

  [[nodiscard]] Result<at::Tensor> forward(const Rows& rows) override {
    PA_TRY(check_rows(rows, config_.in_channels, inputs_));
    const at::Tensor context = rows.inputs.at("context").to(dtype_);
    const at::Tensor time = at::silu(embedded(time_in_, features_(rows.sigma).to(dtype_)) +
                                     embedded(label_in_, rows.inputs.at("y").to(dtype_)));

    at::Tensor x = first_(rows.x.to(dtype_).contiguous(at::MemoryFormat::ChannelsLast));
    std::vector<at::Tensor> skipped{x};
    for (const Block& block : down_) {
      x = run(block, x, time, context);
      skipped.push_back(x);
      if (block.resample) skipped.push_back(x = (*block.resample)(x));
    }
    for (const Block& block : middle_) x = run(block, x, time, context);
    for (const Block& block : up_) {
      x = at::cat({x, skipped.back()}, 1);
      skipped.pop_back();
      x = run(block, x, time, context);
      if (!block.resample) continue;
      // To the size that is met next, which a halving of an odd one rounded up.
      const at::IntArrayRef size = skipped.back().sizes();
      x = (*block.resample)(at::upsample_nearest2d(x, {size[2], size[3]}));
    }
    x = last_(activated_norm(x, norm_));
    return x.to(at::kFloat).contiguous();
  }

 private:
  static at::Tensor embedded(const Mlp& embedder, const at::Tensor& x) {
    return embedder.second(at::silu(embedder.first(x)));
  }

  at::Tensor run(const Block& block, const at::Tensor& x, const at::Tensor& time,
                 const at::Tensor& context) const {
    const at::Tensor y = run(block.residual, x, time);
    return block.transformer ? run(*block.transformer, y, context) : y;
  }

  /// `time` [R, 4 * model_channels], activated already.
  static at::Tensor run(const Residual& block, const at::Tensor& x, const at::Tensor& time) {
    at::Tensor y = block.conv1(activated_norm(x, block.norm1));
    y.add_(block.time(time).unsqueeze(-1).unsqueeze(-1));
    y = block.conv2(activated_norm(y, block.norm2));
    return y.add_(block.skip ? (*block.skip)(x) : x);
  }

  at::Tensor run(const Transformer& transformer, const at::Tensor& x,
                 const at::Tensor& context) const {
    const std::int64_t n = x.size(0);
    const std::int64_t channels = x.size(1);
    const std::int64_t tokens = x.size(2) * x.size(3);
    at::Tensor y = group_norm(x, transformer.norm, kTransformerEpsilon)
                       .permute({0, 2, 3, 1})
                       .reshape({n, tokens, channels});
    y = transformer.in(y);
    for (const TransformerBlock& block : transformer.blocks) {
      y = y + attend(block.self, layer_norm(y, block.norm1), {});
      y = y + attend(block.cross, layer_norm(y, block.norm2), context);
      y = y + feed_forward(block, layer_norm(y, block.norm3));
    }
    y = transformer.out(y);
    return y.reshape({n, x.size(2), x.size(3), channels}).permute({0, 3, 1, 2}).add(x);
  }

  /// To `context` [R, T, context_dim], or to x itself if that is undefined.
  at::Tensor attend(const Attention& attention, const at::Tensor& x,
                    const at::Tensor& context) const {
    const at::Tensor& other = context.defined() ? context : x;
    const std::int64_t heads = x.size(2) / config_.num_head_channels;
    const auto split = [&](const at::Tensor& y) {
      return y.view({y.size(0), y.size(1), heads, config_.num_head_channels}).transpose(1, 2);
    };
    const at::Tensor attended = at::scaled_dot_product_attention(
        split(attention.q(x)), split(attention.k(other)), split(attention.v(other)));
    return attention.out(attended.transpose(1, 2).reshape(x.sizes()));
  }

  static at::Tensor feed_forward(const TransformerBlock& block, const at::Tensor& x) {
    const std::vector<at::Tensor> parts = block.feed_in(x).chunk(2, -1);
    return block.feed_out(at::gelu(parts[1]).mul_(parts[0]));
  }

  SdxlConfig config_;
  at::ScalarType dtype_;
  std::vector<InputSpec> inputs_;
  TimeFeatures features_;
  Mlp time_in_;
  Mlp label_in_;
  Convolution first_;
  std::vector<Block> down_;
  std::vector<Block> middle_;
  std::vector<Block> up_;
  Affine norm_;
  Convolution last_;
};

}  // namespace

std::unique_ptr<Network> make_sdxl(const Weights& weights, const SdxlConfig& config,
                                   std::vector<InputSpec> inputs) {
  return std::make_unique<Sdxl>(weights, config, std::move(inputs));
}

}  // namespace pa
