#include "worker/models/flux.h"

#include <ATen/ATen.h>

#include <cmath>
#include <list>
#include <string>
#include <utility>

namespace pa {
namespace {

constexpr std::int64_t kTimeFeatures = 256;  // Sines and cosines of a time.
constexpr double kTimeFactor = 1000.0;       // Times are 0 to 1; the embedding wants 0 to 1000.
constexpr double kTimePeriod = 10000.0;
constexpr double kEpsilon = 1e-6;          // Of all norms.
constexpr std::size_t kRotaryTables = 16;  // Sizes whose tables are kept.

struct Linear {
  at::Tensor weight;
  at::Tensor bias;  // Undefined: none.

  at::Tensor operator()(const at::Tensor& x) const {
    return bias.defined() ? at::linear(x, weight, bias) : at::linear(x, weight);
  }
};

/// Two linear layers with an activation between them.
struct Mlp {
  Linear first;
  Linear second;
};

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

/// Takes the weights by name.
class Loader {
 public:
  Loader(WeightReader& weights, const FluxConfig& config) : weights_(weights), config_(config) {}

  Linear linear(const std::string& name, std::int64_t out, std::int64_t in, bool bias = true) {
    Linear linear;
    linear.weight = weights_.take(name + ".weight", {out, in});
    if (bias) linear.bias = weights_.take(name + ".bias", {out});
    return linear;
  }

  Mlp embedder(const std::string& name, std::int64_t in) {
    return {linear(name + ".in_layer", config_.hidden_size, in),
            linear(name + ".out_layer", config_.hidden_size, config_.hidden_size)};
  }

  at::Tensor qk_scale(const std::string& name) {
    const at::Tensor query = weights_.take(name + ".query_norm.scale", {config_.head_size()});
    const at::Tensor key = weights_.take(name + ".key_norm.scale", {config_.head_size()});
    if (!query.defined() || !key.defined()) return {};
    return at::stack({query, key}).unsqueeze(1).to(at::kFloat);
  }

  Stream stream(const std::string& block, const std::string& name) {
    const std::int64_t hidden = config_.hidden_size;
    const std::string prefix = block + name;
    Stream stream;
    stream.modulation = linear(prefix + "_mod.lin", 6 * hidden, hidden);
    stream.attention.qkv = linear(prefix + "_attn.qkv", 3 * hidden, hidden, config_.qkv_bias);
    stream.attention.qk_scale = qk_scale(prefix + "_attn.norm");
    stream.attention.projection = linear(prefix + "_attn.proj", hidden, hidden);
    stream.mlp.first = linear(prefix + "_mlp.0", config_.mlp_size, hidden);
    stream.mlp.second = linear(prefix + "_mlp.2", hidden, config_.mlp_size);
    return stream;
  }

  DoubleBlock double_block(std::int64_t i) {
    const std::string block = "double_blocks." + std::to_string(i) + ".";
    return {stream(block, "img"), stream(block, "txt")};
  }

  SingleBlock single_block(std::int64_t i) {
    const std::int64_t hidden = config_.hidden_size;
    const std::string block = "single_blocks." + std::to_string(i) + ".";
    SingleBlock single;
    single.modulation = linear(block + "modulation.lin", 3 * hidden, hidden);
    single.first = linear(block + "linear1", 3 * hidden + config_.mlp_size, hidden);
    single.qk_scale = qk_scale(block + "norm");
    single.second = linear(block + "linear2", hidden, hidden + config_.mlp_size);
    return single;
  }

 private:
  WeightReader& weights_;
  const FluxConfig& config_;
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
  Flux(Loader loader, const FluxConfig& config, at::ScalarType dtype)
      : config_(config), dtype_(dtype) {
    const std::int64_t patch = config.patch_size * config.patch_size;
    image_in_ = loader.linear("img_in", config.hidden_size, patch * config.in_channels);
    text_in_ = loader.linear("txt_in", config.hidden_size, config.context_in_dim);
    time_in_ = loader.embedder("time_in", kTimeFeatures);
    vector_in_ = loader.embedder("vector_in", config.vec_in_dim);
    if (config.guidance_embed) guidance_in_ = loader.embedder("guidance_in", kTimeFeatures);
    for (std::int64_t i = 0; i < config.depth; ++i) doubles_.push_back(loader.double_block(i));
    for (std::int64_t i = 0; i < config.depth_single_blocks; ++i) {
      singles_.push_back(loader.single_block(i));
    }
    final_modulation_ =
        loader.linear("final_layer.adaLN_modulation.1", 2 * config.hidden_size, config.hidden_size);
    final_ = loader.linear("final_layer.linear", patch * config.out_channels, config.hidden_size);

    inputs_ = {{"context", DType::kF32, {-1, config.context_in_dim}, true},
               {"y", DType::kF32, {config.vec_in_dim}, true}};
    if (config.guidance_embed) inputs_.push_back({"guidance", DType::kF32, {}, true});
  }

  [[nodiscard]] const std::vector<InputSpec>& input_contract() const override { return inputs_; }

  [[nodiscard]] Result<at::Tensor> forward(const Rows& rows) override {
    PA_TRY(check(rows));
    const std::int64_t height = rows.x.size(2);
    const std::int64_t width = rows.x.size(3);
    const at::Tensor x = padded(rows.x);
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
  /// Rotary turns of the joined sequence, text before image: complex [T + h * w, 1, 1, D / 2].
  struct RotaryTable {
    std::int64_t high = 0;
    std::int64_t wide = 0;
    std::int64_t text = 0;
    at::Tensor turns;
  };

  Status check(const Rows& rows) const {
    const auto expect = [](const char* name, const at::Tensor& tensor,
                           const Shape& shape) -> Status {
      const at::IntArrayRef sizes = tensor.sizes();
      const bool fits =
          std::equal(sizes.begin(), sizes.end(), shape.begin(), shape.end(),
                     [](std::int64_t got, std::int64_t want) { return want < 0 || got == want; });
      if (fits && tensor.scalar_type() == at::kFloat) return {};
      return invalid(std::string(name) + " is " + to_string(sizes.vec()) + "; expected F32 " +
                     to_string(shape));
    };
    const std::int64_t n = rows.x.dim() > 0 ? rows.x.size(0) : 0;
    PA_TRY(expect("x", rows.x, {n, config_.in_channels, -1, -1}));
    PA_TRY(expect("sigma", rows.sigma, {n}));
    for (const InputSpec& input : inputs_) {
      const auto given = rows.inputs.find(input.name);
      if (given == rows.inputs.end()) return invalid("the input '" + input.name + "' is missing");
      Shape shape{n};
      shape.insert(shape.end(), input.shape.begin(), input.shape.end());
      PA_TRY(expect(input.name.c_str(), given->second, shape));
    }
    return {};
  }

  at::Tensor padded(const at::Tensor& x) const {
    const std::int64_t patch = config_.patch_size;
    const std::int64_t down = (patch - x.size(2) % patch) % patch;
    const std::int64_t right = (patch - x.size(3) % patch) % patch;
    return down + right == 0 ? x : at::pad(x, {0, right, 0, down}, "circular");
  }

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

  /// [R] -> [R, 256]: cosines, then sines, at geometrically falling frequencies.
  at::Tensor time_features(const at::Tensor& t) {
    constexpr std::int64_t kHalf = kTimeFeatures / 2;
    if (!frequencies_.defined() || frequencies_.device() != t.device()) {
      const at::Tensor exponents = at::arange(kHalf, at::TensorOptions(at::kFloat));
      frequencies_ = at::exp(exponents * (-std::log(kTimePeriod)) / double{kHalf}).to(t.device());
    }
    const at::Tensor angles = (t * kTimeFactor).unsqueeze(1) * frequencies_;
    return at::cat({at::cos(angles), at::sin(angles)}, 1).to(dtype_);
  }

  static at::Tensor embedded(const Mlp& embedder, const at::Tensor& x) {
    return embedder.second(at::silu(embedder.first(x)));
  }

  /// `count` tensors [R, 1, hidden] out of the (already activated) vector [R, hidden].
  static std::vector<at::Tensor> modulations(const Linear& linear, const at::Tensor& vector,
                                             std::int64_t count) {
    return linear(vector).unsqueeze(1).chunk(count, -1);
  }

  const at::Tensor& rotary(std::int64_t high, std::int64_t wide, std::int64_t text,
                           c10::Device device) {
    for (auto table = rotary_.begin(); table != rotary_.end(); ++table) {
      if (table->high == high && table->wide == wide && table->text == text) {
        rotary_.splice(rotary_.begin(), rotary_, table);
        return table->turns;
      }
    }
    const std::int64_t tokens = high * wide;
    const at::TensorOptions f64(at::kDouble);
    const at::Tensor row = at::arange(high, f64).repeat_interleave(wide);
    const at::Tensor column = at::arange(wide, f64).repeat(high);
    const at::Tensor zero = at::zeros({tokens}, f64);
    const std::vector<at::Tensor> positions{zero, row, column};
    std::vector<at::Tensor> angles;
    for (std::size_t axis = 0; axis < config_.axes_dim.size(); ++axis) {
      const std::int64_t dim = config_.axes_dim[axis];
      if (dim == 0) continue;
      const at::Tensor exponents = at::arange(0, dim, 2, f64) / static_cast<double>(dim);
      const at::Tensor omega = at::pow(config_.theta, at::neg(exponents));
      angles.push_back(at::outer(positions[axis], omega));
    }
    // Text stands at (0, 0, 0).
    const at::Tensor all = at::constant_pad_nd(at::cat(angles, 1), {0, 0, text, 0});
    const at::Tensor turns = at::polar(at::ones_like(all), all).to(at::kComplexFloat);
    if (rotary_.size() == kRotaryTables) rotary_.pop_back();
    rotary_.push_front({high, wide, text, turns.unsqueeze(1).unsqueeze(1).to(device)});
    return rotary_.front().turns;
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
    at::view_as_complex(qk.view({n, length, 2, config_.num_heads, config_.head_size() / 2, 2}))
        .mul_(turns);
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
  at::Tensor frequencies_;
  std::list<RotaryTable> rotary_;  // Newest use first.
};

}  // namespace

Result<std::unique_ptr<Network>> make_flux(WeightReader& weights, const FluxConfig& config,
                                           c10::ScalarType dtype) {
  auto network = std::make_unique<Flux>(Loader(weights, config), config, dtype);
  PA_TRY(weights.finish());
  return std::unique_ptr<Network>(std::move(network));
}

}  // namespace pa
