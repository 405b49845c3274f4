#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "shared/core/model_info.h"
#include "shared/core/result.h"
#include "shared/io/yaml.h"
#include "shared/models/analytic_denoiser.h"
#include "shared/models/blueprint.h"
#include "shared/models/flux_blueprint.h"
#include "shared/models/plugin.h"
#include "shared/models/sdxl_blueprint.h"
#include "shared/models/weight_index.h"
#include "shared/models/zimage_blueprint.h"

/// The families of networks that this version has, as far as names and shapes tell of them.
namespace pa {

/// "analytic", "aotinductor", "flux", "noop", "sdxl", "torchscript", "zimage": what model.yaml may say as `family`.
[[nodiscard]] const std::vector<std::string>& family_names();

/// The family and naming of these weights, by their names; nullopt if they are none of ours.
[[nodiscard]] std::optional<std::pair<std::string, Naming>> recognise_family(
    const WeightIndex& weights);

/// What there is to know of a model before any of its weights is read.
struct ModelDescription {
  std::string family;
  Naming naming = Naming::kOriginal;
  std::variant<std::monostate, FluxConfig, ZImageConfig, SdxlConfig, AnalyticDenoiser, Plugin>
      config;
  Blueprint blueprint;
  SamplingInfo sampling;  ///< The family's, as far as the weights tell.
  Shape latent;           ///< [C, -1, -1]; empty: any shape at all.
  std::vector<InputSpec> inputs;
};

/// Describes a model of this family, or of the one that the weights are recognised as if `family` is
/// empty. `yaml` is its model.yaml, of which `config`, or for the analytic family `denoiser`, is
/// read; mistakes there are noted in its file.
///
/// Errors: kInvalid if no family is recognised or the weights do not tell the sizes.
[[nodiscard]] Result<ModelDescription> describe_model(const WeightIndex& weights,
                                                      const std::string& family, YamlMap yaml);

/// Sizes of the network in words, for people: ("hidden size", "3072"), ...
[[nodiscard]] std::vector<std::pair<std::string, std::string>> sizes_of(
    const ModelDescription& model);

}  // namespace pa
