#include "shared/models/weight_match.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "shared/core/nearest.h"

namespace pa {
namespace {

constexpr std::size_t kMaxTold = 20;
constexpr std::string_view kInstead =
    "; use the model's bf16, fp16, fp8 (e4m3) or fp32 .safetensors file instead";

bool is_fp8(DType dtype) { return dtype == DType::kF8E4M3 || dtype == DType::kF8E5M2; }

bool is_readable(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16 ||
         dtype == DType::kF64 || is_fp8(dtype);
}

/// The tail of `name` after its last dot.
std::string_view last_part(std::string_view name) {
  const std::size_t dot = name.rfind('.');
  return dot == std::string_view::npos ? name : name.substr(dot + 1);
}

/// A name without its last part.
std::string layer_of(std::string_view name) {
  const std::size_t dot = name.rfind('.');
  return std::string(dot == std::string_view::npos ? std::string_view() : name.substr(0, dot));
}

class Matcher {
 public:
  Matcher(const Blueprint& blueprint, const WeightIndex& weights, Naming naming)
      : blueprint_(blueprint), weights_(weights), naming_(naming) {}

  WeightMatch run() {
    if (const std::optional<std::string> foreign = foreign_quantisation()) {
      match_.problems.push_back(*foreign);
      return std::move(match_);
    }
    for (const Parameter& parameter : blueprint_.parameters()) find(parameter);
    taken_.insert("scaled_fp8");
    tell();
    return std::move(match_);
  }

 private:
  /// What the whole file is stored in, if that cannot be read.
  std::optional<std::string> foreign_quantisation() const {
    for (const auto& [name, tensor] : weights_.tensors()) {
      const std::string_view last = last_part(name);
      const DType dtype = tensor.view.spec.dtype;
      const bool nf4 = name.find("quant_state.bitsandbytes") != std::string::npos ||
                       last == "quant_map" || last == "absmax";
      if (nf4) {
        return "tensor '" + name + "' belongs to a 4-bit file of bitsandbytes (nf4 or fp4)" +
               std::string(kInstead);
      }
      if (last == "weight_scale_2" || last == "svd_q" || last == "qweight" || last == "qzeros") {
        return "tensor '" + name + "' belongs to a 4-bit file" + std::string(kInstead);
      }
      if (last == "weight" && (dtype == DType::kI8 || dtype == DType::kU8)) {
        return "tensor '" + name + "' is quantised to 8-bit integers (" +
               std::string(name_of(dtype)) + ")" + std::string(kInstead);
      }
    }
    return std::nullopt;
  }

  void find(const Parameter& parameter) {
    ParameterSource source{&parameter, {}};
    const std::int64_t rows = parameter.shape.empty() ? 1 : parameter.shape.front();
    if (naming_ == Naming::kOriginal || parameter.diffusers.empty()) {
      add_piece(source, {parameter.name, 0, rows, rows});
    } else {
      for (const Part& part : parameter.diffusers) add_piece(source, part);
    }
    match_.sources.push_back(std::move(source));
  }

  void add_piece(ParameterSource& source, const Part& part) {
    const bool seen = !taken_.insert(part.name).second;
    const StoredTensor* const tensor = weights_.find(part.name);
    if (tensor == nullptr) {
      if (!seen) missing_.push_back(part.name);
      return;
    }
    Shape expected = source.parameter->shape;
    if (!expected.empty()) expected.front() = part.of_rows;
    const TensorSpec& spec = tensor->view.spec;
    if (spec.shape != expected) {
      if (!seen) {
        wrong_.push_back("tensor '" + part.name + "' is " + to_string(spec.shape) + "; expected " +
                         to_string(expected));
      }
      return;
    }
    if (!is_readable(spec.dtype)) {
      if (!seen) {
        wrong_.push_back("tensor '" + part.name + "' is " + std::string(name_of(spec.dtype)) +
                         "; expected F32, F16, BF16, F64, F8_E4M3 or F8_E5M2");
      }
      return;
    }
    const StoredTensor* const scale =
        part.name.ends_with(".weight") ? scale_of(part.name) : nullptr;
    source.pieces.push_back({tensor, part.first_row, part.rows, scale});
  }

  /// The scale of a layer's weight, if it has one, and with it the layer's other descriptions.
  const StoredTensor* scale_of(const std::string& weight) {
    const std::string layer = layer_of(weight);
    check_description(layer);
    const StoredTensor* scale = nullptr;
    // Scales of what goes into a layer serve products in fp8, which are not used here.
    for (const char* const name : {".scale_input", ".input_scale"}) taken_.insert(layer + name);
    for (const char* const name : {".scale_weight", ".weight_scale"}) {
      const StoredTensor* const found = weights_.find(layer + name);
      if (found == nullptr) continue;
      taken_.insert(layer + name);
      const TensorSpec& spec = found->view.spec;
      if (spec.dtype != DType::kF32 || element_count(spec.shape) != 1) {
        wrong_.push_back("tensor '" + layer + name + "' is " + std::string(name_of(spec.dtype)) +
                         " " + to_string(spec.shape) + "; expected one F32 value");
        continue;
      }
      scale = found;
    }
    return scale;
  }

  void check_description(const std::string& layer) {
    const std::string name = layer + ".comfy_quant";
    const StoredTensor* const found = weights_.find(name);
    if (found == nullptr || !taken_.insert(name).second) return;
    const std::span<const std::byte> bytes = found->view.bytes;
    const char* const text = reinterpret_cast<const char*>(bytes.data());
    const nlohmann::json description =
        nlohmann::json::parse(text, text + bytes.size(), nullptr, /*allow_exceptions=*/false);
    std::string format;
    if (description.is_object() && description.contains("format") &&
        description["format"].is_string()) {
      format = description["format"].get<std::string>();
    }
    if (format == "float8_e4m3fn" || format == "float8_e5m2") return;
    wrong_.push_back("tensor '" + name + "' says that the layer is quantised as '" +
                     format.substr(0, 40) + "'; expected float8_e4m3fn" + std::string(kInstead));
  }

  void tell() {
    std::vector<std::string> extra;
    for (const auto& entry : weights_.tensors()) {
      if (!taken_.contains(entry.first)) extra.push_back(entry.first);
    }
    std::vector<std::string>& out = match_.problems;
    for (const std::string& name : missing_) {
      const std::string_view near = nearest_of(name, extra);
      out.push_back("tensor '" + name + "' is missing" +
                    (near.empty() ? "" : "; the nearest is '" + std::string(near) + "'"));
    }
    out.insert(out.end(), wrong_.begin(), wrong_.end());
    const std::vector<std::string> known(taken_.begin(), taken_.end());
    for (const std::string& name : extra) {
      const std::string_view near = nearest_of(name, known);
      out.push_back("tensor '" + name + "' has no place in this network" +
                    (near.empty() ? "" : "; the nearest is '" + std::string(near) + "'"));
    }
  }

  /// Empty after so many calls that their answers would not be shown: names of large models are many.
  std::string_view nearest_of(const std::string& name, const std::vector<std::string>& candidates) {
    return ++searches_ > kMaxTold ? std::string_view() : nearest(name, candidates);
  }

  const Blueprint& blueprint_;
  const WeightIndex& weights_;
  Naming naming_;
  WeightMatch match_;
  std::set<std::string, std::less<>> taken_;
  std::vector<std::string> missing_;
  std::vector<std::string> wrong_;
  std::size_t searches_ = 0;
};

}  // namespace

Status WeightMatch::status() const {
  if (problems.empty()) return {};
  std::string text;
  for (std::size_t i = 0; i < std::min(problems.size(), kMaxTold); ++i) {
    text += (i > 0 ? "\n" : "") + problems[i];
  }
  if (problems.size() > kMaxTold) {
    text += "\nand " + std::to_string(problems.size() - kMaxTold) + " more";
  }
  return invalid(std::move(text));
}

WeightMatch match_weights(const Blueprint& blueprint, const WeightIndex& weights, Naming naming) {
  return Matcher(blueprint, weights, naming).run();
}

}  // namespace pa
