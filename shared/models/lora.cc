#include "shared/models/lora.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <string_view>

namespace pa {
namespace {

enum class Role : std::uint8_t { kDown, kUp, kAlpha };

struct Ending {
  std::string_view text;
  Role role;
};

/// How trainers end the names of a layer's tensors.
constexpr std::array<Ending, 13> kEndings{{{".lora_down.weight", Role::kDown},
                                           {".lora_up.weight", Role::kUp},
                                           {".lora_A.weight", Role::kDown},
                                           {".lora_B.weight", Role::kUp},
                                           {".lora_A.default.weight", Role::kDown},
                                           {".lora_B.default.weight", Role::kUp},
                                           {".lora.down.weight", Role::kDown},
                                           {".lora.up.weight", Role::kUp},
                                           {"_lora.down.weight", Role::kDown},
                                           {"_lora.up.weight", Role::kUp},
                                           {".lora_linear_layer.down.weight", Role::kDown},
                                           {".lora_linear_layer.up.weight", Role::kUp},
                                           {".alpha", Role::kAlpha}}};

/// What marks other algorithms in names, and what they are called.
constexpr std::array<std::pair<std::string_view, std::string_view>, 14> kOthers{
    {{".dora_scale", "DoRA"},
     {".lora_magnitude_vector", "DoRA"},
     {".hada_w", "LoHa"},
     {".hada_t", "LoHa"},
     {".lokr_", "LoKr"},
     {".oft_", "OFT"},
     {".boft_", "BOFT"},
     {".a1.weight", "GLoRA"},
     {".b1.weight", "GLoRA"},
     {".lora_mid.weight", "LoCon with Tucker decomposition"},
     {".on_input", "IA3"},
     {".diff_b", "full difference"},
     {".diff", "full difference"},
     {".set_weight", "full weight"}}};

constexpr std::array<std::string_view, 8> kPrefixes{
    "",      "transformer.",      "diffusion_model.", "model.diffusion_model.",
    "unet.", "base_model.model.", "lora_unet_",       "lora_transformer_"};

constexpr std::array<std::string_view, 8> kTextEncoders{
    "lora_te_",      "lora_te1_",       "lora_te2_",      "lora_te3_",
    "text_encoder.", "text_encoder_2.", "text_encoders.", "te1."};

std::string underscored(std::string name) {
  std::replace(name.begin(), name.end(), '.', '_');
  return name;
}

/// Where a layer's product goes: rows of one parameter, of so many rows of the product.
struct Target {
  std::string parameter;
  std::vector<LoraRows> rows;
  std::int64_t of_rows = 0;
};

/// Every name under which a network's layers may be found.
class Targets {
 public:
  explicit Targets(const Blueprint& blueprint) {
    for (const Parameter& parameter : blueprint.parameters()) {
      if (!parameter.name.ends_with(kWeight) || parameter.shape.size() < 2) continue;
      const std::int64_t rows = parameter.shape.front();
      add(parameter.name, parameter.name, {0, 0, rows}, rows);
      std::int64_t row = 0;
      for (const Part& part : parameter.diffusers) {
        if (part.name != parameter.name) {
          add(part.name, parameter.name, {part.first_row, row, part.rows}, part.of_rows);
        }
        row += part.rows;
      }
    }
    // Names with dots come before their likeness with underscores, should two layers share one.
    const std::map<std::string, Target, std::less<>> dotted = targets_;
    for (const auto& [name, target] : dotted) targets_.emplace(underscored(name), target);
  }

  [[nodiscard]] const Target* find(std::string_view layer) const {
    for (const std::string_view prefix : kPrefixes) {
      if (!layer.starts_with(prefix)) continue;
      const std::string_view name = layer.substr(prefix.size());
      if (const auto found = targets_.find(name); found != targets_.end()) return &found->second;
      // As older versions of diffusers named the layers of attention.
      std::string older(name);
      if (const std::size_t at = older.find(".processor."); at != std::string::npos) {
        older.replace(at, std::string_view(".processor.").size(), ".");
      }
      if (older.ends_with(".to_out")) older += ".0";
      if (const auto found = targets_.find(older); found != targets_.end()) return &found->second;
    }
    return nullptr;
  }

 private:
  static constexpr std::string_view kWeight = ".weight";

  void add(std::string name, const std::string& parameter, LoraRows rows, std::int64_t of_rows) {
    name.resize(name.size() - kWeight.size());
    Target& target = targets_[name];
    target.parameter = parameter;
    target.rows.push_back(rows);
    target.of_rows = of_rows;
  }

  std::map<std::string, Target, std::less<>> targets_;
};

struct Parts {
  const TensorView* down = nullptr;
  const TensorView* up = nullptr;
  const TensorView* alpha = nullptr;
};

std::optional<std::pair<std::string, Role>> parse(std::string_view name) {
  for (const Ending& ending : kEndings) {
    if (!name.ends_with(ending.text)) continue;
    return std::pair{std::string(name.substr(0, name.size() - ending.text.size())), ending.role};
  }
  return std::nullopt;
}

std::string_view other_algorithm(std::string_view name) {
  for (const auto& [mark, algorithm] : kOthers) {
    const std::size_t at = name.find(mark);
    if (at == std::string_view::npos) continue;
    // ".diff" must end the name: ".diffusion_model" does not count.
    if (algorithm.starts_with("full") && at + mark.size() != name.size()) continue;
    return algorithm;
  }
  return {};
}

bool is_floating(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16 ||
         dtype == DType::kF64 || dtype == DType::kF8E4M3;
}

/// What is wrong with a layer for a parameter of this shape; empty: nothing.
std::string mistake(const Parts& parts, const Target& target, const Shape& parameter) {
  if (parts.down == nullptr) return "has no down projection";
  if (parts.up == nullptr) return "has no up projection";
  const Shape& down = parts.down->spec.shape;
  const Shape& up = parts.up->spec.shape;
  for (const TensorView* const view : {parts.down, parts.up}) {
    if (!is_floating(view->spec.dtype)) {
      return "is " + std::string(name_of(view->spec.dtype)) + "; expected floating-point numbers";
    }
  }
  const std::int64_t row =
      element_count(std::span(parameter).subspan(1)).value_or(0);  // Elements of the parameter's.
  const std::int64_t rank = down.empty() ? 0 : down.front();
  const bool fits = down.size() >= 2 && up.size() >= 2 && rank > 0 &&
                    element_count(std::span(down).subspan(1)) == row && up[0] == target.of_rows &&
                    up[1] == rank && element_count(up) == target.of_rows * rank;
  if (!fits) {
    return "is " + to_string(up) + " x " + to_string(down) + "; expected [" +
           std::to_string(target.of_rows) + ", rank] x [rank, " + std::to_string(row) + "]";
  }
  if (parts.alpha != nullptr &&
      (element_count(parts.alpha->spec.shape) != 1 ||
       (!is_floating(parts.alpha->spec.dtype) && parts.alpha->spec.dtype != DType::kI64))) {
    return "has an alpha that is not one number";
  }
  return {};
}

}  // namespace

bool looks_like_lora(const std::vector<TensorView>& tensors) {
  return std::any_of(tensors.begin(), tensors.end(), [](const TensorView& view) {
    const auto parsed = parse(view.spec.name);
    const bool lora = parsed && parsed->second != Role::kAlpha;
    return lora || !other_algorithm(view.spec.name).empty();
  });
}

Result<LoraMatch> match_lora(const std::vector<TensorView>& tensors, const Blueprint& blueprint) {
  LoraMatch match;
  std::map<std::string, Parts> layers;
  for (const TensorView& view : tensors) {
    const std::string& name = view.spec.name;
    if (const std::string_view algorithm = other_algorithm(name); !algorithm.empty()) {
      return invalid("tensor '" + name.substr(0, 200) + "' is " + std::string(algorithm) +
                     ", which this version does not apply; expected a plain LoRA");
    }
    const auto parsed = parse(name);
    if (!parsed) {
      match.unmatched.push_back(name);
      continue;
    }
    Parts& parts = layers[parsed->first];
    (parsed->second == Role::kDown ? parts.down
     : parsed->second == Role::kUp ? parts.up
                                   : parts.alpha) = &view;
  }
  const Targets targets(blueprint);
  for (const auto& [layer, parts] : layers) {
    const bool encoder =
        std::any_of(kTextEncoders.begin(), kTextEncoders.end(),
                    [&name = layer](std::string_view prefix) { return name.starts_with(prefix); });
    if (encoder) {
      ++match.text_encoder_layers;
      continue;
    }
    const Target* const target = targets.find(layer);
    if (target == nullptr) {
      match.unmatched.push_back(layer);
      continue;
    }
    const std::string wrong = mistake(parts, *target, blueprint.find(target->parameter)->shape);
    if (!wrong.empty()) {
      match.problems.push_back("layer '" + layer + "' " + wrong);
      continue;
    }
    match.layers.push_back({target->parameter, target->rows, parts.down, parts.up, parts.alpha});
  }
  return match;
}

}  // namespace pa
