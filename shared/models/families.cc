#include "shared/models/families.h"

#include <algorithm>

#include "shared/core/nearest.h"

namespace pa {
namespace {

constexpr double kFluxDevShift = 1.15;  // mu of a 1024 x 1024 image, which ComfyUI uses for all.
constexpr double kZImageShift = 3.0;

struct Family {
  std::string name;
  bool (*recognise)(const WeightIndex& weights, Naming naming);
  Status (*describe)(const WeightIndex& weights, YamlMap yaml, ModelDescription& model);
};

Status check_channels(std::int64_t in, std::int64_t out) {
  if (in == out) return {};
  return invalid("the network goes from " + std::to_string(in) + " channels to " +
                 std::to_string(out) +
                 ": a model that is conditioned on another image (fill, canny, inpainting), which "
                 "this version does not run");
}

Status describe_flux(const WeightIndex& weights, YamlMap yaml, ModelDescription& model) {
  PA_ASSIGN(const FluxConfig config, flux_config(weights, yaml.map("config")));
  PA_TRY(check_channels(config.in_channels, config.out_channels));
  // Schnell, which has no guidance, is sampled without a shift.
  model.sampling = config.guidance_embed ? SamplingInfo{"flow", "flux", kFluxDevShift, 1.0}
                                         : SamplingInfo{"flow", "flow", 1.0, 1.0};
  model.latent = {config.in_channels, -1, -1};
  model.inputs = {{"context", DType::kF32, {-1, config.context_in_dim}, true},
                  {"y", DType::kF32, {config.vec_in_dim}, true}};
  if (config.guidance_embed) model.inputs.push_back({"guidance", DType::kF32, {}, true});
  model.blueprint = flux_blueprint(config);
  model.config = config;
  return {};
}

Status describe_zimage(const WeightIndex& weights, YamlMap yaml, ModelDescription& model) {
  PA_ASSIGN(const ZImageConfig config, zimage_config(weights, yaml.map("config")));
  model.sampling = {"flow", "flow", kZImageShift, 1.0};
  model.latent = {config.in_channels, -1, -1};
  model.inputs = {{"context", DType::kF32, {-1, config.cap_feat_dim}, true}};
  model.blueprint = zimage_blueprint(config);
  model.config = config;
  return {};
}

Status describe_sdxl(const WeightIndex& weights, YamlMap yaml, ModelDescription& model) {
  PA_ASSIGN(const SdxlConfig config, sdxl_config(weights, yaml.map("config")));
  PA_TRY(check_channels(config.in_channels, config.out_channels));
  if (weights.has_marker("edm_vpred.sigma_max") && !yaml.find("sampling")) {
    return invalid(
        "tensor 'edm_vpred.sigma_max' says that sigmas are continuous; say which in model.yaml: "
        "prediction: v, sampling: {type: continuous, sigma_min: ..., sigma_max: ...}");
  }
  if (weights.has_marker("edm_mean") && weights.has_marker("edm_std")) {  // Playground v2.5.
    model.sampling = {.prediction = "edm", .type = "continuous", .sigma_max = 80.0};
  } else {
    model.sampling = {.prediction = weights.has_marker("v_pred") ? "v" : "eps",
                      .type = "discrete",
                      .zero_terminal_snr = weights.has_marker("ztsnr")};
  }
  model.latent = {config.in_channels, -1, -1};
  model.inputs = {{"context", DType::kF32, {-1, config.context_dim}, true},
                  {"y", DType::kF32, {config.adm_in_channels}, true}};
  model.blueprint = sdxl_blueprint(config);
  model.config = config;
  return {};
}

bool recognise_nothing(const WeightIndex& /*weights*/, Naming /*naming*/) { return false; }

Status describe_analytic(const WeightIndex& /*weights*/, YamlMap yaml, ModelDescription& model) {
  (void)yaml.map("config");
  model.config = read_analytic_denoiser(yaml.map("denoiser"));
  model.inputs = {{"mu", DType::kF32, {}, false}};
  return {};
}

Status describe_noop(const WeightIndex& /*weights*/, YamlMap yaml, ModelDescription& /*model*/) {
  (void)yaml.map("config");
  return {};
}

Status describe_plugin(PluginKind kind, YamlMap yaml, ModelDescription& model) {
  (void)yaml.map("config");
  model.config = read_plugin(kind, yaml, model.inputs);
  return {};
}

Status describe_torchscript(const WeightIndex& weights, YamlMap yaml, ModelDescription& model) {
  if (!weights.empty()) return invalid("a TorchScript module has its weights in its own file");
  return describe_plugin(PluginKind::kTorchScript, yaml, model);
}

Status describe_aotinductor(const WeightIndex& /*weights*/, YamlMap yaml, ModelDescription& model) {
  return describe_plugin(PluginKind::kAotInductor, yaml, model);
}

const std::vector<Family>& families() {
  static const std::vector<Family> kFamilies{
      {"analytic", recognise_nothing, describe_analytic},
      {"aotinductor", recognise_nothing, describe_aotinductor},
      {"flux", looks_like_flux, describe_flux},
      {"noop", recognise_nothing, describe_noop},
      {"sdxl", looks_like_sdxl, describe_sdxl},
      {"torchscript", recognise_nothing, describe_torchscript},
      {"zimage", looks_like_zimage, describe_zimage},
  };
  return kFamilies;
}

std::string list_of(const std::vector<std::int64_t>& numbers) { return to_string(numbers); }

}  // namespace

const std::vector<std::string>& family_names() {
  static const std::vector<std::string> kNames = [] {
    std::vector<std::string> names;
    for (const Family& family : families()) names.push_back(family.name);
    return names;
  }();
  return kNames;
}

std::optional<std::pair<std::string, Naming>> recognise_family(const WeightIndex& weights) {
  for (const Family& family : families()) {
    for (const Naming naming : {Naming::kOriginal, Naming::kDiffusers}) {
      if (family.recognise(weights, naming)) return std::pair{family.name, naming};
    }
  }
  return std::nullopt;
}

Result<ModelDescription> describe_model(const WeightIndex& weights, const std::string& name,
                                        YamlMap yaml) {
  const auto recognised = recognise_family(weights);
  ModelDescription model;
  model.family = !name.empty() ? name : recognised ? recognised->first : "";
  if (recognised && recognised->first == model.family) model.naming = recognised->second;
  const auto family = std::find_if(families().begin(), families().end(),
                                   [&](const Family& f) { return f.name == model.family; });
  if (family == families().end()) {
    if (name.empty()) return invalid("no family of this version has weights of such names");
    return invalid("there is no family '" + name + "'" + suggestion(name, family_names()));
  }
  PA_TRY(family->describe(weights, yaml, model));
  return model;
}

std::vector<std::pair<std::string, std::string>> sizes_of(const ModelDescription& model) {
  const auto text = [](std::int64_t value) { return std::to_string(value); };
  if (const auto* flux = std::get_if<FluxConfig>(&model.config)) {
    return {{"variant", flux->guidance_embed ? "dev (takes guidance)" : "schnell (no guidance)"},
            {"hidden size", text(flux->hidden_size)},
            {"heads", text(flux->num_heads) + " of " + text(flux->head_size())},
            {"double blocks", text(flux->depth)},
            {"single blocks", text(flux->depth_single_blocks)},
            {"latent channels", text(flux->in_channels)},
            {"text width", text(flux->context_in_dim)},
            {"pooled text width", text(flux->vec_in_dim)},
            {"rotary axes", list_of(flux->axes_dim)}};
  }
  if (const auto* zimage = std::get_if<ZImageConfig>(&model.config)) {
    return {{"hidden size", text(zimage->dim)},
            {"heads", text(zimage->n_heads) + " of " + text(zimage->head_size())},
            {"layers", text(zimage->n_layers)},
            {"refiner layers", text(zimage->n_refiner_layers) + " each"},
            {"latent channels", text(zimage->in_channels)},
            {"text width", text(zimage->cap_feat_dim)},
            {"rotary axes", list_of(zimage->axes_dims)}};
  }
  if (const auto* sdxl = std::get_if<SdxlConfig>(&model.config)) {
    return {{"model channels", text(sdxl->model_channels)},
            {"channels by level", list_of(sdxl->channel_mult) + " times that"},
            {"residual blocks", list_of(sdxl->num_res_blocks)},
            {"transformer depths", list_of(sdxl->transformer_depth) + ", middle " +
                                       text(sdxl->transformer_depth_middle) + ", up " +
                                       list_of(sdxl->transformer_depth_output)},
            {"channels a head", text(sdxl->num_head_channels)},
            {"latent channels", text(sdxl->in_channels)},
            {"text width", text(sdxl->context_dim)},
            {"pooled text width", text(sdxl->adm_in_channels)}};
  }
  return {};
}

}  // namespace pa
