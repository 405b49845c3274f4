#include "clients/cli/weights_family.h"

#include <algorithm>
#include <charconv>
#include <set>

namespace pa::cli {
namespace {

/// In front of a network's names in a checkpoint that holds more than the network.
constexpr std::string_view kCheckpointPrefix = "model.diffusion_model.";

/// One file's tensors under the names the network itself has.
class Names {
 public:
  explicit Names(const Shapes& shapes) {
    const bool prefixed = std::any_of(shapes.begin(), shapes.end(), [](const auto& entry) {
      return entry.first.starts_with(kCheckpointPrefix);
    });
    for (const auto& [name, shape] : shapes) {
      if (!prefixed) {
        shapes_.emplace(name, shape);
      } else if (name.starts_with(kCheckpointPrefix)) {
        shapes_.emplace(name.substr(kCheckpointPrefix.size()), shape);
      }
    }
  }

  [[nodiscard]] bool has(std::string_view name) const { return shapes_.contains(name); }

  /// A dimension of a tensor, in words; "?" if it is not there.
  [[nodiscard]] std::string size(std::string_view name, std::size_t axis) const {
    const auto found = shapes_.find(name);
    return found == shapes_.end() || axis >= found->second.size()
               ? "?"
               : std::to_string(found->second[axis]);
  }

  /// How many blocks there are whose names begin with "PREFIX.N."; a gap among them is a problem.
  std::string blocks(const std::string& prefix, std::vector<std::string>& problems) const {
    std::set<int> numbers;
    for (auto at = shapes_.lower_bound(prefix + "."); at != shapes_.end(); ++at) {
      if (!at->first.starts_with(prefix + ".")) break;
      const char* begin = at->first.data() + prefix.size() + 1;
      int number = -1;
      if (std::from_chars(begin, at->first.data() + at->first.size(), number).ec == std::errc{})
        numbers.insert(number);
    }
    for (int i = 0; !numbers.empty() && i < *numbers.rbegin(); ++i) {
      if (!numbers.contains(i))
        problems.push_back("there is no block " + prefix + "." + std::to_string(i));
    }
    return std::to_string(numbers.size());
  }

  void require(std::initializer_list<std::string_view> names,
               std::vector<std::string>& problems) const {
    for (const std::string_view name : names) {
      if (!has(name)) problems.push_back("there is no tensor " + std::string(name));
    }
  }

 private:
  Shapes shapes_;
};

WeightsFamily flux(const Names& names) {
  WeightsFamily found{"flux", "BFL", {}, {}};
  found.sizes = {{"hidden size", names.size("img_in.weight", 0)},
                 {"latent patch", names.size("img_in.weight", 1)},
                 {"text width", names.size("txt_in.weight", 1)},
                 {"pooled text width", names.size("vector_in.in_layer.weight", 1)},
                 {"double blocks", names.blocks("double_blocks", found.problems)},
                 {"single blocks", names.blocks("single_blocks", found.problems)},
                 {"guidance embedding",
                  names.has("guidance_in.in_layer.weight") ? "yes (dev)" : "no (schnell)"}};
  names.require({"img_in.weight", "txt_in.weight", "time_in.in_layer.weight",
                 "vector_in.in_layer.weight", "final_layer.linear.weight"},
                found.problems);
  return found;
}

WeightsFamily flux_diffusers(const Names& names) {
  WeightsFamily found{"flux", "diffusers", {}, {}};
  found.sizes = {{"hidden size", names.size("x_embedder.weight", 0)},
                 {"latent patch", names.size("x_embedder.weight", 1)},
                 {"text width", names.size("context_embedder.weight", 1)},
                 {"double blocks", names.blocks("transformer_blocks", found.problems)},
                 {"single blocks", names.blocks("single_transformer_blocks", found.problems)},
                 {"guidance embedding",
                  names.has("time_text_embed.guidance_embedder.linear_1.weight") ? "yes (dev)"
                                                                                 : "no (schnell)"}};
  return found;
}

WeightsFamily zimage(const Names& names, bool diffusers) {
  WeightsFamily found{"zimage", diffusers ? "diffusers" : "original", {}, {}};
  found.sizes = {{"hidden size", names.size("x_pad_token", 1)},
                 {"layers", names.blocks("layers", found.problems)},
                 {"noise refiner layers", names.blocks("noise_refiner", found.problems)},
                 {"context refiner layers", names.blocks("context_refiner", found.problems)}};
  return found;
}

WeightsFamily sdxl(const Names& names) {
  WeightsFamily found{"sdxl", "original", {}, {}};
  found.sizes = {{"model channels", names.size("input_blocks.0.0.weight", 0)},
                 {"latent channels", names.size("input_blocks.0.0.weight", 1)},
                 {"pooled width", names.size("label_emb.0.0.weight", 1)},
                 {"input blocks", names.blocks("input_blocks", found.problems)},
                 {"output blocks", names.blocks("output_blocks", found.problems)}};
  return found;
}

bool is_lora(const Shapes& shapes) {
  return std::any_of(shapes.begin(), shapes.end(), [](const auto& entry) {
    const std::string& name = entry.first;
    return name.find("lora_A") != std::string::npos || name.find("lora_up") != std::string::npos ||
           name.find("lora.up") != std::string::npos;
  });
}

}  // namespace

WeightsFamily recognise(const Shapes& shapes) {
  if (is_lora(shapes)) return {"lora", "", {}, {}};
  const Names names(shapes);
  if (names.has("double_blocks.0.img_attn.qkv.weight")) return flux(names);
  if (names.has("transformer_blocks.0.norm1_context.linear.weight")) return flux_diffusers(names);
  if (names.has("cap_pad_token")) return zimage(names, !names.has("x_embedder.weight"));
  if (names.has("label_emb.0.0.weight") && names.has("input_blocks.0.0.weight")) return sdxl(names);
  return {};
}

}  // namespace pa::cli
