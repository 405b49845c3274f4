#include "worker/models/flux.h"

#include <ATen/ATen.h>

#include <string>
#include <utility>

#include "worker/models/layers.h"

namespace pa {
namespace {

constexpr std::int64_t kTimeFeatures = 256;  // Sines and cosines of a time.
constexpr double kTimeFactor = 1000.0;       // Times are 0 to 1; the embedding wants 0 to 1000.
constexpr double kEpsilon = 1e-6;            // Of all norms.

struct Attention {
  Linear qkv;
  at::Tensor qk_scale;  // [2, 1, D] F32: of the RMS norms of queries and keys.
  Linear projection;
};

struct Stream {
  Linear modulation;
  Attention attention;
  Mlp mlp;
};

struct DoubleBlock {
  Stream image;
  Stream text;
};

struct SingleBlock {
  Linear modulation;
  Linear first;         // Queries, keys, values, and the MLP's inner values.
  at::Tensor qk_scale;  // As in Attention.
  Linear second;        // Of attention and MLP together.
};

/// Takes the layers by name.
class Loader {
 public:
  explicit Loader(const Weights& weights) : weights_(weights) {}

  Linear linear(const std::string& name) const { return linear_of(weights_, name); }

  Mlp embedder(const std::string& name) const {
    return {linear(name + ".in_layer"), linear(name + ".out_layer")};
  }

  at::Tensor qk_scale(const std::string& name) const {
    return at::stack(
               {*weights_.at(name + ".query_norm.scale"), *weights_.at(name + ".key_norm.scale")})
        .unsqueeze(1)
        .to(at::kFloat);
  }

  Stream stream(const std::string& prefix) const {
    Stream stream;
    stream.modulation = linear(prefix + "_mod.lin");
    stream.attention.qkv = linear(prefix + "_attn.qkv");
    stream.attention.qk_scale = qk_scale(prefix + "_attn.norm");
    stream.attention.projection = linear(prefix + "_attn.proj");
    stream.mlp = {linear(prefix + "_mlp.0"), linear(prefix + "_mlp.2")};
    return stream;
  }

  DoubleBlock double_block(std::int64_t i) const {
    const std::string block = "double_blocks." + std::to_string(i) + ".";
    return {stream(block + "img"), stream(block + "txt")};
  }

  SingleBlock single_block(std::int64_t i) const {
    const std::string block = "single_blocks." + std::to_string(i) + ".";
    return {linear(block + "modulation.lin"), linear(block + "linear1"), qk_scale(block + "norm"),
            linear(block + "linear2")};
  }

 private:
  const Weights& weights_;
};

at::Tensor layer_norm(const at::Tensor& x) {
  return at::layer_norm(x, {x.size(-1)}, {}, {}, kEpsilon);
}

/// (1 + scale) * norm(x) + shift.
at::Tensor modulated(const at::Tensor& x, const at::Tensor& shift, const at::Tensor& scale) {
  return at::addcmul(shift, layer_norm(x), scale + 1.0);
}

at::Tensor activated(const at::Tensor& x) { return at::gelu(x, "tanh"); }

class Flux : public Network {
 public:
  Flux(const Weights& weights, const FluxConfig& config, std::vector<InputSpec> inputs)
      : config_(config),
        dtype_(weights.dtype()),
        inputs_(std::move(inputs)),
        rotary_(config.axes_dim, config.theta) {
    const Loader loader(weights);
    image_in_ = loader.linear("img_in");
    text_in_ = loader.linear("txt_in");
    time_in_ = loader.embedder("time_in");
    vector_in_ = loader.embedder("vector_in");
    if (config.guidance_embed) guidance_in_ = loader.embedder("guidance_in");
    for (std::int64_t i = 0; i < config.depth; ++i) doubles_.push_back(loader.double_block(i));
    for (std::int64_t i = 0; i < config.depth_single_blocks; ++i) {
      singles_.push_back(loader.single_block(i));
    }
    final_modulation_ = loader.linear("final_layer.adaLN_modulation.1");
    final_ = loader.linear("final_layer.linear");
  }

  [[nodiscard]] const std::vector<InputSpec>& input_contract() const override { return inputs_; }

  [[nodiscard]] Result<at::Tensor> forward(const Rows& rows) override {
    PA_TRY(check_rows(rows, config_.in_channels, inputs_));
    const std::int64_t height = rows.x.size(2);
    const std::int64_t width = rows.x.size(3);
    const at::Tensor x = padded_to(rows.x, config_.patch_size);
    const std::int64_t tokens_high = x.size(2) / config_.patch_size;
    const std::int64_t tokens_wide = x.size(3) / config_.patch_size;

    at::Tensor image = image_in_(patches(x).to(dtype_));
    at::Tensor text = text_in_(rows.inputs.at("context").to(dtype_));
    const std::int64_t text_tokens = text.size(1);
    const at::Tensor turns = rotary(tokens_high, tokens_wide, text_tokens, x.device());

    at::Tensor vector = embedded(time_in_, time_features(rows.sigma));
    if (config_.guidance_embed) {
      vector = vector + embedded(guidance_in_, time_features(rows.inputs.at("guidance")));
    }
    vector = at::silu(vector + embedded(vector_in_, rows.inputs.at("y").to(dtype_)));

    for (const DoubleBlock& block : doubles_) run(block, image, text, vector, turns);
    at::Tensor both = at::cat({text, image}, 1);
    for (const SingleBlock& block : singles_) run(block, both, vector, turns);
    image = both.narrow(1, text_tokens, both.size(1) - text_tokens);

    const std::vector<at::Tensor> modulation = modulations(final_modulation_, vector, 2);
    image = final_(modulated(image, modulation[0], modulation[1])).to(at::kFloat);
    return unpatched(image, tokens_high, tokens_wide, height, width);
  }

 private:
  /// [R, C, H, W] -> [R, tokens, C * patch * patch], each token in the order channel, row, column.
  at::Tensor patches(const at::Tensor& x) const {
    const std::int64_t patch = config_.patch_size;
    const std::int64_t high = x.size(2) / patch;
    const std::int64_t wide = x.size(3) / patch;
    return x.reshape({x.size(0), x.size(1), high, patch, wide, patch})
        .permute({0, 2, 4, 1, 3, 5})
        .reshape({x.size(0), high * wide, x.size(1) * patch * patch});
  }

  at::Tensor unpatched(const at::Tensor& tokens, std::int64_t high, std::int64_t wide,
                       std::int64_t height, std::int64_t width) const {
    const std::int64_t patch = config_.patch_size;
    return tokens.reshape({tokens.size(0), high, wide, config_.out_channels, patch, patch})
        .permute({0, 3, 1, 4, 2, 5})
        .reshape({tokens.size(0), config_.out_channels, high * patch, wide * patch})
        .narrow(2, 0, height)
        .narrow(3, 0, width)
        .contiguous();
  }

  at::Tensor time_features(const at::Tensor& t) { return features_(t * kTimeFactor).to(dtype_); }

  static at::Tensor embedded(const Mlp& embedder, const at::Tensor& x) {
    return embedder.second(at::silu(embedder.first(x)));
  }

  /// `count` tensors [R, 1, hidden] out of the (already activated) vector [R, hidden].
  static std::vector<at::Tensor> modulations(const Linear& linear, const at::Tensor& vector,
                                             std::int64_t count) {
    return linear(vector).unsqueeze(1).chunk(count, -1);
  }

  /// Turns of the joined sequence, text before image.
  const at::Tensor& rotary(std::int64_t high, std::int64_t wide, std::int64_t text,
                           c10::Device device) {
    return rotary_.of({high, wide, text}, device, [&] {
      // Text stands at (0, 0, 0).
      return at::constant_pad_nd(grid_positions(high, wide), {0, 0, text, 0});
    });
  }

  /// qkv [R, L, 3 * H * D] -> queries and keys, normalised, [R, L, 2, H, D] F32; values [R, L, H, D].
  std::pair<at::Tensor, at::Tensor> split(const at::Tensor& qkv, const at::Tensor& scale) const {
    const at::Tensor parts =
        qkv.reshape({qkv.size(0), qkv.size(1), 3, config_.num_heads, config_.head_size()});
    const at::Tensor qk = parts.narrow(2, 0, 2).to(at::kFloat);
    return {at::rms_norm(qk, {config_.head_size()}, {}, kEpsilon).mul_(scale), parts.select(2, 2)};
  }

  /// Attention over all tokens of a row. Turns `qk` in place. -> [R, L, H * D].
  at::Tensor attend(const at::Tensor& qk, const at::Tensor& v, const at::Tensor& turns) const {
    const std::int64_t n = qk.size(0);
    const std::int64_t length = qk.size(1);
    turn(qk, turns);
    const at::Tensor typed = qk.to(v.scalar_type());
    const at::Tensor q = typed.select(2, 0).transpose(1, 2);
    const at::Tensor k = typed.select(2, 1).transpose(1, 2);
    return at::scaled_dot_product_attention(q, k, v.transpose(1, 2))
        .transpose(1, 2)
        .reshape({n, length, config_.hidden_size});
  }

  void run(const DoubleBlock& block, at::Tensor& image, at::Tensor& text, const at::Tensor& vector,
           const at::Tensor& turns) const {
    const std::vector<at::Tensor> image_mod = modulations(block.image.modulation, vector, 6);
    const std::vector<at::Tensor> text_mod = modulations(block.text.modulation, vector, 6);
    const auto project = [&](const Stream& stream, const at::Tensor& x,
                             const std::vector<at::Tensor>& mod) {
      return split(stream.attention.qkv(modulated(x, mod[0], mod[1])), stream.attention.qk_scale);
    };
    const auto [text_qk, text_v] = project(block.text, text, text_mod);
    const auto [image_qk, image_v] = project(block.image, image, image_mod);
    const at::Tensor attended =
        attend(at::cat({text_qk, image_qk}, 1), at::cat({text_v, image_v}, 1), turns);

    const std::int64_t text_tokens = text.size(1);
    const auto finish = [](const Stream& stream, const at::Tensor& x, const at::Tensor& attended_x,
                           const std::vector<at::Tensor>& mod) {
      const at::Tensor y = at::addcmul(x, mod[2], stream.attention.projection(attended_x));
      const at::Tensor inner = activated(stream.mlp.first(modulated(y, mod[3], mod[4])));
      return at::addcmul(y, mod[5], stream.mlp.second(inner));
    };
    image = finish(block.image, image, attended.narrow(1, text_tokens, image.size(1)), image_mod);
    text = finish(block.text, text, attended.narrow(1, 0, text_tokens), text_mod);
  }

  void run(const SingleBlock& block, at::Tensor& x, const at::Tensor& vector,
           const at::Tensor& turns) const {
    const std::vector<at::Tensor> mod = modulations(block.modulation, vector, 3);
    const at::Tensor both = block.first(modulated(x, mod[0], mod[1]));
    const std::int64_t qkv_size = 3 * config_.hidden_size;
    const auto [qk, v] = split(both.narrow(2, 0, qkv_size), block.qk_scale);
    const at::Tensor inner = activated(both.narrow(2, qkv_size, config_.mlp_size));
    x = at::addcmul(x, mod[2], block.second(at::cat({attend(qk, v, turns), inner}, 2)));
  }

  FluxConfig config_;
  at::ScalarType dtype_;
  Linear image_in_;
  Linear text_in_;
  Mlp time_in_;
  Mlp vector_in_;
  Mlp guidance_in_;
  std::vector<DoubleBlock> doubles_;
  std::vector<SingleBlock> singles_;
  Linear final_modulation_;
  Linear final_;
  std::vector<InputSpec> inputs_;
  TimeFeatures features_{kTimeFeatures};
  RotaryTables rotary_;
};

}  // namespace

std::unique_ptr<Network> make_flux(const Weights& weights, const FluxConfig& config,
                                   std::vector<InputSpec> inputs) {
  return std::make_unique<Flux>(weights, config, std::move(inputs));
}

}  // namespace pa
