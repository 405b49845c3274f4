#include "worker/models/zimage.h"

#include <ATen/ATen.h>

#include <string>
#include <utility>

#include "worker/models/layers.h"

namespace pa {
namespace {

constexpr std::int64_t kTimeFeatures = 256;  // Sines and cosines of a time.
constexpr double kFinalEpsilon = 1e-6;       // Of the layer norm before the answer.

struct Attention {
  Linear qkv;
  at::Tensor q_scale;  // [D] F32.
  at::Tensor k_scale;
  Linear out;
};

struct Block {
  const at::Tensor* attention_norm1 = nullptr;
  Attention attention;
  const at::Tensor* attention_norm2 = nullptr;
  const at::Tensor* ffn_norm1 = nullptr;
  Linear w1, w2, w3;
  const at::Tensor* ffn_norm2 = nullptr;
  Linear modulation;  // Without a weight: the block takes no notice of time.
};

Block block_of(const Weights& weights, const std::string& name, bool modulated) {
  Block block;
  block.attention_norm1 = weights.at(name + "attention_norm1.weight");
  block.attention.qkv = linear_of(weights, name + "attention.qkv");
  block.attention.q_scale = weights.at(name + "attention.q_norm.weight")->to(at::kFloat);
  block.attention.k_scale = weights.at(name + "attention.k_norm.weight")->to(at::kFloat);
  block.attention.out = linear_of(weights, name + "attention.out");
  block.attention_norm2 = weights.at(name + "attention_norm2.weight");
  block.ffn_norm1 = weights.at(name + "ffn_norm1.weight");
  block.w1 = linear_of(weights, name + "feed_forward.w1");
  block.w2 = linear_of(weights, name + "feed_forward.w2");
  block.w3 = linear_of(weights, name + "feed_forward.w3");
  block.ffn_norm2 = weights.at(name + "ffn_norm2.weight");
  if (modulated) block.modulation = linear_of(weights, name + "adaLN_modulation.0");
  return block;
}

class ZImage : public Network {
 public:
  ZImage(const Weights& weights, const ZImageConfig& config, std::vector<InputSpec> inputs)
      : config_(config),
        dtype_(weights.dtype()),
        inputs_(std::move(inputs)),
        rotary_(config.axes_dims, config.rope_theta) {
    time_in_ = {linear_of(weights, "t_embedder.mlp.0"), linear_of(weights, "t_embedder.mlp.2")};
    caption_norm_ = weights.at("cap_embedder.0.weight");
    caption_in_ = linear_of(weights, "cap_embedder.1");
    caption_pad_ = weights.at("cap_pad_token");
    image_in_ = linear_of(weights, "x_embedder");
    image_pad_ = weights.at("x_pad_token");
    for (std::int64_t i = 0; i < config.n_refiner_layers; ++i) {
      const std::string number = std::to_string(i) + ".";
      image_refiner_.push_back(block_of(weights, "noise_refiner." + number, true));
      caption_refiner_.push_back(block_of(weights, "context_refiner." + number, false));
    }
    for (std::int64_t i = 0; i < config.n_layers; ++i) {
      layers_.push_back(block_of(weights, "layers." + std::to_string(i) + ".", true));
    }
    final_modulation_ = linear_of(weights, "final_layer.adaLN_modulation.1");
    final_ = linear_of(weights, "final_layer.linear");
  }

  [[nodiscard]] const std::vector<InputSpec>& input_contract() const override { return inputs_; }

  [[nodiscard]] Result<at::Tensor> forward(const Rows& rows) override {
    PA_TRY(check_rows(rows, config_.in_channels, inputs_));
    const at::Tensor x = padded_to(rows.x, config_.patch_size);
    const std::int64_t high = x.size(2) / config_.patch_size;
    const std::int64_t wide = x.size(3) / config_.patch_size;

    const at::Tensor time = embedded_time(rows.sigma);
    at::Tensor caption =
        caption_in_(normed(rows.inputs.at("context").to(dtype_), *caption_norm_, config_.norm_eps));
    caption = filled(caption, *caption_pad_);
    at::Tensor image = filled(image_in_(patches(x).to(dtype_)), *image_pad_);

    const std::int64_t captions = caption.size(1);
    const at::Tensor turns = rotary(high, wide, captions, image.size(1), x.device());
    const at::Tensor image_turns = turns.narrow(0, captions, image.size(1));
    for (const Block& block : image_refiner_) image = run(block, image, time, image_turns);
    const at::Tensor caption_turns = turns.narrow(0, 0, captions);
    for (const Block& block : caption_refiner_) caption = run(block, caption, time, caption_turns);

    at::Tensor both = at::cat({caption, image}, 1);
    for (const Block& block : layers_) both = run(block, both, time, turns);
    image = both.narrow(1, captions, high * wide);

    const at::Tensor scale = final_modulation_(at::silu(time)).unsqueeze(1) + 1.0;
    image = at::layer_norm(image, {config_.dim}, {}, {}, kFinalEpsilon) * scale;
    return unpatched(final_(image).to(at::kFloat), high, wide, rows.x.size(2), rows.x.size(3));
  }

 private:
  /// The times of the network run the other way: 0 is noise, 1 data. -> [R, adaln_dim].
  at::Tensor embedded_time(const at::Tensor& sigma) {
    const at::Tensor t = (1.0 - sigma) * config_.time_scale;
    return time_in_.second(at::silu(time_in_.first(features_(t).to(dtype_))));
  }

  static at::Tensor normed(const at::Tensor& x, const at::Tensor& scale, double epsilon) {
    return at::rms_norm(x, {x.size(-1)}, scale, epsilon);
  }

  /// [R, L, dim] with pad tokens at the end, to a multiple of pad_tokens_multiple.
  at::Tensor filled(const at::Tensor& tokens, const at::Tensor& pad) const {
    const std::int64_t multiple = config_.pad_tokens_multiple;
    const std::int64_t more = (multiple - tokens.size(1) % multiple) % multiple;
    if (more == 0) return tokens;
    return at::cat({tokens, pad.unsqueeze(0).expand({tokens.size(0), more, config_.dim})}, 1);
  }

  /// [R, C, H, W] -> [R, tokens, patch * patch * C], each token in the order row, column, channel.
  at::Tensor patches(const at::Tensor& x) const {
    const std::int64_t patch = config_.patch_size;
    const std::int64_t high = x.size(2) / patch;
    const std::int64_t wide = x.size(3) / patch;
    return x.reshape({x.size(0), x.size(1), high, patch, wide, patch})
        .permute({0, 2, 4, 3, 5, 1})
        .reshape({x.size(0), high * wide, patch * patch * x.size(1)});
  }

  /// The inverse, negated.
  at::Tensor unpatched(const at::Tensor& tokens, std::int64_t high, std::int64_t wide,
                       std::int64_t height, std::int64_t width) const {
    const std::int64_t patch = config_.patch_size;
    return tokens.reshape({tokens.size(0), high, wide, patch, patch, config_.in_channels})
        .permute({0, 5, 1, 3, 2, 4})
        .reshape({tokens.size(0), config_.in_channels, high * patch, wide * patch})
        .narrow(2, 0, height)
        .narrow(3, 0, width)
        .neg()
        .contiguous();
  }

  /// Turns of caption and image together. A caption token stands at (1 + its index, 0, 0), its
  /// padding included; the image after it, at (1 + captions, row, column), its padding at (0, 0, 0).
  const at::Tensor& rotary(std::int64_t high, std::int64_t wide, std::int64_t captions,
                           std::int64_t images, c10::Device device) {
    return rotary_.of({high, wide, captions}, device, [&] {
      const at::TensorOptions f64(at::kDouble);
      at::Tensor positions = at::zeros({captions + images, 3}, f64);
      positions.narrow(0, 0, captions).select(1, 0).copy_(at::arange(1, captions + 1, f64));
      const at::Tensor image = positions.narrow(0, captions, high * wide);
      image.copy_(grid_positions(high, wide));
      image.select(1, 0).fill_(static_cast<double>(captions + 1));
      return positions;
    });
  }

  /// RMS norm over the heads' dimension, then the turns; [R, L, heads, D] -> [R, heads, L, D].
  at::Tensor placed(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& turns) const {
    at::Tensor y =
        at::rms_norm(x.to(at::kFloat), {x.size(-1)}, scale, config_.qk_norm_eps).contiguous();
    turn(y, turns);
    return y.to(x.scalar_type()).transpose(1, 2);
  }

  at::Tensor attend(const Attention& attention, const at::Tensor& x,
                    const at::Tensor& turns) const {
    const std::int64_t n = x.size(0);
    const std::int64_t length = x.size(1);
    const std::int64_t heads = config_.n_heads;
    const std::int64_t kv_heads = config_.n_kv_heads;
    const at::Tensor qkv =
        attention.qkv(x).view({n, length, heads + 2 * kv_heads, config_.head_size()});
    const at::Tensor q = placed(qkv.narrow(2, 0, heads), attention.q_scale, turns.squeeze(1));
    at::Tensor k = placed(qkv.narrow(2, heads, kv_heads), attention.k_scale, turns.squeeze(1));
    at::Tensor v = qkv.narrow(2, heads + kv_heads, kv_heads).transpose(1, 2);
    if (kv_heads != heads) {
      k = k.repeat_interleave(heads / kv_heads, 1);
      v = v.repeat_interleave(heads / kv_heads, 1);
    }
    return attention.out(at::scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(
        {n, length, config_.dim}));
  }

  static at::Tensor feed_forward(const Block& block, const at::Tensor& x) {
    return block.w2(at::silu(block.w1(x)).mul_(block.w3(x)));
  }

  at::Tensor run(const Block& block, const at::Tensor& x, const at::Tensor& time,
                 const at::Tensor& turns) const {
    const double epsilon = config_.norm_eps;
    if (block.modulation.weight == nullptr) {
      const at::Tensor attended =
          attend(block.attention, normed(x, *block.attention_norm1, epsilon), turns);
      const at::Tensor y = x + normed(attended, *block.attention_norm2, epsilon);
      return y + normed(feed_forward(block, normed(y, *block.ffn_norm1, epsilon)), *block.ffn_norm2,
                        epsilon);
    }
    const std::vector<at::Tensor> mod = block.modulation(time).unsqueeze(1).chunk(4, -1);
    const at::Tensor attended =
        attend(block.attention, normed(x, *block.attention_norm1, epsilon) * (mod[0] + 1.0), turns);
    const at::Tensor y =
        at::addcmul(x, normed(attended, *block.attention_norm2, epsilon), at::tanh(mod[1]));
    const at::Tensor inner =
        feed_forward(block, normed(y, *block.ffn_norm1, epsilon) * (mod[2] + 1.0));
    return at::addcmul(y, normed(inner, *block.ffn_norm2, epsilon), at::tanh(mod[3]));
  }

  ZImageConfig config_;
  at::ScalarType dtype_;
  std::vector<InputSpec> inputs_;
  Mlp time_in_;
  const at::Tensor* caption_norm_ = nullptr;
  Linear caption_in_;
  const at::Tensor* caption_pad_ = nullptr;
  Linear image_in_;
  const at::Tensor* image_pad_ = nullptr;
  std::vector<Block> image_refiner_;
  std::vector<Block> caption_refiner_;
  std::vector<Block> layers_;
  Linear final_modulation_;
  Linear final_;
  TimeFeatures features_{kTimeFeatures};
  RotaryTables rotary_;
};

}  // namespace

std::unique_ptr<Network> make_zimage(const Weights& weights, const ZImageConfig& config,
                                     std::vector<InputSpec> inputs) {
  return std::make_unique<ZImage>(weights, config, std::move(inputs));
}

}  // namespace pa
