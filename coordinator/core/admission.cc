#include "coordinator/core/admission.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <set>

#include "shared/core/nearest.h"
#include "shared/sampling/request_sampling.h"

namespace pa {
namespace {

/// The label that stands for no condition: what guidance steers away from if labels are given.
constexpr std::string_view kNoLabel = "none";

/// The noises that a stochastic sampler adds, [K, N, ...], if the request brings them.
constexpr const char* kStepNoise = "step_noise";

/// The parts of "cond.K.NAME" or "cond.K.NAME.I".
struct ConditionName {
  std::string prefix;  ///< "cond.K".
  std::string input;
  std::int64_t only = -1;
};

std::optional<ConditionName> parse_condition_name(const std::string& name) {
  if (!name.starts_with("cond.")) return std::nullopt;
  const std::size_t dot = name.find('.', 5);
  if (dot == std::string::npos || dot == 5 || dot + 1 == name.size()) return std::nullopt;
  ConditionName parts{name.substr(0, dot), name.substr(dot + 1), -1};
  const std::size_t last = parts.input.rfind('.');
  if (last != std::string::npos) {
    const char* end = parts.input.data() + parts.input.size();
    const auto parsed = std::from_chars(parts.input.data() + last + 1, end, parts.only);
    if (parsed.ec == std::errc{} && parsed.ptr == end && parts.only >= 0) {
      parts.input.resize(last);
    } else {
      parts.only = -1;
    }
  }
  return parts;
}

std::string in_words(const Shape& expected) {
  std::string text = "[";
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (i > 0) text += ", ";
    text += expected[i] < 0 ? "any" : std::to_string(expected[i]);
  }
  return text + "]";
}

bool fits(std::span<const std::int64_t> shape, const Shape& expected) {
  return std::equal(
      shape.begin(), shape.end(), expected.begin(), expected.end(),
      [](std::int64_t got, std::int64_t want) { return got > 0 && (want < 0 || got == want); });
}

/// One admission, so that its steps need not hand everything to each other.
class Admission {
 public:
  Admission(const Request& request, const std::vector<TensorEntry>& tensors, const ModelInfo& model,
            const AdmissionLimits& limits)
      : request_(request), tensors_(tensors), model_(model), limits_(limits) {}

  Result<Admitted> run() {
    if (request_.samples < 1 || request_.samples > limits_.max_samples) {
      return invalid("samples is " + std::to_string(request_.samples) +
                         "; this cluster takes 1 to " + std::to_string(limits_.max_samples),
                     "/samples");
    }
    PA_TRY(check_loras());
    PA_TRY(check_tensor_names());
    PA_TRY(request_.op == Operation::kSample ? check_sample() : check_forward());
    PA_TRY(check_conditions());
    PA_TRY(lay_out());
    return std::move(admitted_);
  }

 private:
  const TensorSpec* find(const std::string& name) const {
    for (const TensorEntry& entry : tensors_) {
      if (entry.spec.name == name) return &entry.spec;
    }
    return nullptr;
  }

  Status check_loras() const {
    for (std::size_t i = 0; i < request_.loras.size(); ++i) {
      const std::string& name = request_.loras[i].name;
      std::vector<std::string> names;
      bool known = false;
      for (const LoraInfo& lora : model_.loras) {
        known = known || lora.name == name || lora.identity == name;
        names.push_back(lora.name);
      }
      if (known) continue;
      return invalid(
          "model '" + model_.name + "' has no LoRA '" + name + "'" + suggestion(name, names),
          "/loras/" + std::to_string(i) + "/name");
    }
    return {};
  }

  Status check_tensor_names() const {
    std::set<std::string> seen;
    for (const TensorEntry& entry : tensors_) {
      PA_ASSIGN(const std::uint64_t bytes, byte_size(entry.spec));
      if (bytes == 0)
        return invalid("tensor '" + entry.spec.name + "' is empty", "/tensors/" + entry.spec.name);
      if (!seen.insert(entry.spec.name).second) {
        return invalid("tensor '" + entry.spec.name + "' is there twice",
                       "/tensors/" + entry.spec.name);
      }
    }
    return {};
  }

  static Error wrong_shape(const TensorSpec& spec, const std::string& expected) {
    return invalid("tensor '" + spec.name + "' is " + std::string(name_of(spec.dtype)) + " " +
                       to_string(spec.shape) + "; expected " + expected,
                   "/tensors/" + spec.name);
  }

  Status check_sample() {
    PA_ASSIGN(const Shape latent, latent_shape());
    if (!model_.latent.empty() && !fits(latent, model_.latent)) {
      return invalid("latent_shape is " + to_string(latent) + "; model '" + model_.name +
                         "' takes " + in_words(model_.latent),
                     "/latent_shape");
    }
    for (const char* name : {"latent", "noise"}) {
      const TensorSpec* spec = find(name);
      if (spec == nullptr) continue;
      Shape whole{request_.samples};
      whole.insert(whole.end(), latent.begin(), latent.end());
      Shape single = whole;
      single[0] = 1;
      const bool one_for_all = std::string_view(name) == "latent" && spec->shape == single;
      if (spec->dtype != DType::kF32 || (spec->shape != whole && !one_for_all)) {
        return wrong_shape(*spec, "F32 " + to_string(whole));
      }
      known_.insert(name);
    }
    if (request_.noise != NoiseKind::kGiven && find("noise") != nullptr) {
      return invalid("there is a tensor 'noise', which would not be used; expected 'given'",
                     "/noise");
    }
    if (request_.noise == NoiseKind::kGiven && request_.add_noise && find("noise") == nullptr) {
      return invalid("noise is 'given', but there is no tensor 'noise'", "/noise");
    }
    if (!request_.batch_index.empty() && std::ssize(request_.batch_index) != request_.samples) {
      return invalid("batch_index has " + std::to_string(request_.batch_index.size()) +
                         " entries; expected one a sample, " + std::to_string(request_.samples),
                     "/batch_index");
    }
    PA_ASSIGN(const Program program, program_of(request_, model_.sampling));
    admitted_.steps_per_sample = steps_of(program);
    wants_uncond_ = std::any_of(program.stages.begin(), program.stages.end(),
                                [](const Stage& stage) { return stage.uncond >= 0; });
    const bool has_places =
        request_.inpaint || has_places_in(request_.positive) || has_places_in(request_.negative);
    if (has_places && latent.size() != 3) {
      return invalid("masks and areas are for latents [C, H, W]; this one is " + to_string(latent),
                     "/latent_shape");
    }
    PA_TRY(check_inpaint(latent));
    PA_TRY(check_places(request_.positive, "/positive", latent));
    PA_TRY(check_places(request_.negative, "/negative", latent));
    PA_TRY(check_step_noise(draws_of(program), latent));
    admitted_.passes_per_step = static_cast<double>(std::max(evaluations_of(program), 1)) /
                                static_cast<double>(std::max(steps_of(program), 1));
    admitted_.rows_per_sample = rows_per_sample(request_);
    admitted_.result = {"samples", DType::kF32, {request_.samples}};
    admitted_.result.shape.insert(admitted_.result.shape.end(), latent.begin(), latent.end());
    return {};
  }

  static bool has_places_in(const std::vector<Condition>& conditions) {
    return std::any_of(conditions.begin(), conditions.end(), [](const Condition& condition) {
      return !condition.mask.empty() || !condition.area.empty();
    });
  }

  Status check_inpaint(const Shape& latent) {
    if (!request_.inpaint) {
      if (find("mask") == nullptr || uses_mask("mask")) return {};
      return invalid("there is a tensor 'mask', which would not be used; expected 'inpaint'",
                     "/inpaint");
    }
    if (find("mask") == nullptr) {
      return invalid("inpaint needs the tensor 'mask' [N, 1, H, W]", "/tensors/mask");
    }
    PA_TRY(check_mask("mask", latent, latent[0]));
    const TensorSpec* noise = find("inpaint_noise");
    if (noise == nullptr && request_.inpaint_noise == InpaintNoise::kGiven) {
      return invalid("inpaint.noise is 'given', but there is no tensor 'inpaint_noise'",
                     "/inpaint/noise");
    }
    if (noise == nullptr) return {};
    Shape whole{request_.samples};
    whole.insert(whole.end(), latent.begin(), latent.end());
    if (noise->dtype != DType::kF32 || noise->shape != whole) {
      return wrong_shape(*noise, "F32 " + to_string(whole));
    }
    known_.insert("inpaint_noise");
    return {};
  }

  /// Whether a condition has this mask.
  bool uses_mask(const std::string& name) const {
    const auto uses = [&](const Condition& condition) { return condition.mask == name; };
    return std::any_of(request_.positive.begin(), request_.positive.end(), uses) ||
           std::any_of(request_.negative.begin(), request_.negative.end(), uses);
  }

  /// A mask is [1 or N, 1 or `channels`, H, W] or [1 or N, H, W], of any size.
  Status check_mask(const std::string& name, const Shape& latent, std::int64_t channels) {
    const TensorSpec& spec = *find(name);
    const Shape& shape = spec.shape;
    const bool rows_fit = !shape.empty() && (shape[0] == 1 || shape[0] == request_.samples);
    const bool fits_mask =
        shape.size() == 3 || (shape.size() == 4 && (shape[1] == 1 || shape[1] == channels));
    if (spec.dtype != DType::kF32 || !rows_fit || !fits_mask) {
      return wrong_shape(spec, "F32 [1 or " + std::to_string(request_.samples) + ", 1, " +
                                   std::to_string(latent[1]) + ", " + std::to_string(latent[2]) +
                                   "], or another size, which is resized");
    }
    known_.insert(name);
    return {};
  }

  /// Masks and areas of conditions.
  Status check_places(const std::vector<Condition>& conditions, const std::string& list,
                      const Shape& latent) {
    for (std::size_t k = 0; k < conditions.size(); ++k) {
      const Condition& condition = conditions[k];
      const std::string field = list + "/" + std::to_string(k);
      if (!condition.mask.empty()) {
        if (find(condition.mask) == nullptr) {
          return invalid("there is no tensor '" + condition.mask + "'", field + "/mask");
        }
        PA_TRY(check_mask(condition.mask, latent, 1));
      }
      if (condition.area.empty()) continue;
      const std::vector<std::int64_t>& area = condition.area;
      if (area[0] < 1 || area[1] < 1 || area[2] >= latent[1] || area[3] >= latent[2]) {
        return invalid("the area " + to_string(area) +
                           " (height, width, y, x) has no pixel inside the latent of " +
                           std::to_string(latent[1]) + " x " + std::to_string(latent[2]),
                       field + "/area");
      }
    }
    return {};
  }

  /// The noises that the sampler adds, instead of drawing them.
  Status check_step_noise(std::int64_t draws, const Shape& latent) {
    const TensorSpec* spec = find(kStepNoise);
    if (spec == nullptr) return {};
    if (draws == 0) {
      return invalid("there is a tensor 'step_noise', but the sampler '" + request_.sampler.name +
                         "' draws no noise with these options",
                     "/tensors/step_noise");
    }
    Shape whole{draws, request_.samples};
    whole.insert(whole.end(), latent.begin(), latent.end());
    if (spec->dtype != DType::kF32 || spec->shape != whole) {
      return wrong_shape(*spec, "F32 " + to_string(whole) + ", one for each of the " +
                                    std::to_string(draws) + " noises that the sampler draws");
    }
    known_.insert(kStepNoise);
    return {};
  }

  Result<Shape> latent_shape() const {
    if (!request_.latent_shape.empty()) return request_.latent_shape;
    for (const char* name : {"latent", "noise"}) {
      const TensorSpec* spec = find(name);
      if (spec != nullptr && spec->shape.size() >= 2)
        return Shape(spec->shape.begin() + 1, spec->shape.end());
    }
    const auto fixed = [](std::int64_t size) { return size > 0; };
    if (request_.size.empty() && !model_.latent.empty() &&
        std::all_of(model_.latent.begin(), model_.latent.end(), fixed)) {
      return model_.latent;
    }
    if (!request_.size.empty() && model_.latent.size() == 3 && model_.latent[0] > 0) {
      const std::int64_t scale = model_.pixel_max > model_.pixel_min ? 1 : 8;
      if (request_.size[0] % scale != 0 || request_.size[1] % scale != 0) {
        return invalid("size must be in multiples of " + std::to_string(scale) + " pixels",
                       "/size");
      }
      return Shape{model_.latent[0], request_.size[1] / scale, request_.size[0] / scale};
    }
    return invalid("the latent's shape is not known: give latent_shape [C, H, W]; model '" +
                       model_.name + "' takes " + in_words(model_.latent),
                   "/latent_shape");
  }

  Status check_forward() {
    const TensorSpec* x = find("x");
    if (x == nullptr) return invalid("op 'forward' needs the tensor 'x' [N, ...]", "/tensors/x");
    const bool rows_match = !x->shape.empty() && x->shape[0] == request_.samples;
    if (x->dtype != DType::kF32 || !rows_match) {
      return wrong_shape(*x, "F32 [" + std::to_string(request_.samples) + ", ...] (samples rows)");
    }
    if (!model_.latent.empty() && !fits(std::span(x->shape).subspan(1), model_.latent)) {
      return wrong_shape(
          *x, "F32 rows of " + in_words(model_.latent) + " for model '" + model_.name + "'");
    }
    known_.insert("x");
    if (const TensorSpec* timestep = find("timestep"); timestep != nullptr) {
      if (timestep->dtype != DType::kF32 ||
          (timestep->shape != Shape{request_.samples} && timestep->shape != Shape{1})) {
        return wrong_shape(*timestep, "F32 [" + std::to_string(request_.samples) + "] or [1]");
      }
      known_.insert("timestep");
    } else if (model_.family != "noop") {
      return invalid("op 'forward' needs the tensor 'timestep' [N]", "/tensors/timestep");
    }
    admitted_.result = {"output", DType::kF32, x->shape};
    return {};
  }

  /// Conditions a polarity of the request refers to; op forward has always "cond.0".
  std::vector<std::pair<std::string, std::string>> referred() const {
    std::vector<std::pair<std::string, std::string>> prefixes;
    for (std::size_t k = 0; k < request_.positive.size(); ++k) {
      prefixes.emplace_back(request_.positive[k].tensors,
                            "/positive/" + std::to_string(k) + "/tensors");
    }
    for (std::size_t k = 0; k < request_.negative.size(); ++k) {
      prefixes.emplace_back(request_.negative[k].tensors,
                            "/negative/" + std::to_string(k) + "/tensors");
    }
    if (request_.op == Operation::kForward && request_.positive.empty())
      prefixes.emplace_back("cond.0", "/positive");
    return prefixes;
  }

  Status check_conditions() {
    PA_TRY(check_labels());
    const auto prefixes = referred();
    for (const TensorEntry& entry : tensors_) {
      const TensorSpec& spec = entry.spec;
      if (known_.contains(spec.name)) continue;
      const std::optional<ConditionName> name = parse_condition_name(spec.name);
      const bool used =
          name && std::any_of(prefixes.begin(), prefixes.end(),
                              [&](const auto& prefix) { return prefix.first == name->prefix; });
      if (!used) {
        return invalid("nothing in the request uses tensor '" + spec.name + "'",
                       "/tensors/" + spec.name);
      }
      PA_TRY(check_condition_tensor(spec, *name));
    }
    const bool needed = std::any_of(model_.inputs.begin(), model_.inputs.end(),
                                    [](const InputSpec& input) { return input.required; });
    if (request_.labels.empty() && needed && request_.positive.empty() &&
        request_.op == Operation::kSample) {
      return invalid("model '" + model_.name + "' needs conditioning: give 'positive'" +
                         (model_.labels.empty() ? "" : " or 'labels'"),
                     "/positive");
    }
    for (const auto& [prefix, field] : prefixes) PA_TRY(check_complete(prefix, field));
    const bool has_none =
        !request_.labels.empty() &&
        std::find(model_.labels.begin(), model_.labels.end(), kNoLabel) != model_.labels.end();
    const bool guided = request_.guidance.cfg != 1 || wants_uncond_;
    if (guided && request_.op == Operation::kSample && request_.negative.empty() && needed &&
        !has_none) {
      return invalid(wants_uncond_ ? "the sampler '" + request_.sampler.name +
                                         "' uses the unconditional answer: 'negative' is needed"
                                   : "cfg is not 1, so 'negative' is needed",
                     "/negative");
    }
    return {};
  }

  Status check_labels() const {
    if (request_.labels.empty()) return {};
    if (!request_.positive.empty()) {
      return invalid("give either 'labels' or 'positive', not both", "/labels");
    }
    if (std::ssize(request_.labels) != request_.samples) {
      return invalid("labels has " + std::to_string(request_.labels.size()) +
                         " entries; expected one a sample, " + std::to_string(request_.samples),
                     "/labels");
    }
    for (std::size_t i = 0; i < request_.labels.size(); ++i) {
      const std::string& label = request_.labels[i];
      if (std::find(model_.labels.begin(), model_.labels.end(), label) != model_.labels.end())
        continue;
      const std::string field = "/labels/" + std::to_string(i);
      if (model_.labels.empty()) return invalid("model '" + model_.name + "' has no labels", field);
      return invalid("model '" + model_.name + "' has no label '" + label + "'" +
                         suggestion(label, model_.labels),
                     field);
    }
    return {};
  }

  Status check_condition_tensor(const TensorSpec& spec, const ConditionName& name) const {
    const auto input =
        std::find_if(model_.inputs.begin(), model_.inputs.end(),
                     [&](const InputSpec& candidate) { return candidate.name == name.input; });
    if (input == model_.inputs.end()) {
      std::vector<std::string> names;
      for (const InputSpec& candidate : model_.inputs) names.push_back(candidate.name);
      return invalid("model '" + model_.name + "' has no input '" + name.input + "'" +
                         suggestion(name.input, names),
                     "/tensors/" + spec.name);
    }
    const std::string expected =
        "F32 rows of " + in_words(input->shape) + ", 1 or " + std::to_string(request_.samples);
    const bool rows_fit =
        !spec.shape.empty() &&
        (spec.shape[0] == 1 || (name.only < 0 && spec.shape[0] == request_.samples));
    const auto row_fits = [&] {
      const auto row = std::span(spec.shape).subspan(1);
      const auto is_one = [](std::int64_t size) { return size == 1; };
      return fits(row, input->shape) ||  // or [N, 1] for [N]
             (input->shape.empty() && std::all_of(row.begin(), row.end(), is_one));
    };
    if (spec.dtype != input->dtype || !rows_fit || !row_fits()) {
      return wrong_shape(spec, expected);
    }
    if (name.only >= request_.samples) {
      return invalid("tensor '" + spec.name + "' is for sample " + std::to_string(name.only) +
                         ", but there are " + std::to_string(request_.samples),
                     "/tensors/" + spec.name);
    }
    return {};
  }

  /// Every required input of the model is there for every sample, as one tensor or one a sample.
  Status check_complete(const std::string& prefix, const std::string& field) const {
    for (const InputSpec& input : model_.inputs) {
      const std::string name = prefix + "." + input.name;
      if (!input.required || find(name) != nullptr) continue;
      for (std::int64_t i = 0; i < request_.samples; ++i) {
        if (find(name + "." + std::to_string(i)) == nullptr) {
          return invalid("model '" + model_.name + "' needs the tensor '" + name + "', " +
                             std::string(name_of(input.dtype)) + " rows of " +
                             in_words(input.shape),
                         field);
        }
      }
    }
    return {};
  }

  Status lay_out() {
    std::vector<TensorSpec> specs;
    for (const TensorEntry& entry : tensors_) specs.push_back(entry.spec);
    PA_ASSIGN(const InputLayout layout, input_layout(specs));
    admitted_.layout_bytes = layout.total;
    for (std::size_t i = 0; i < specs.size(); ++i) {
      AdmittedInput input;
      input.spec = specs[i];
      input.offset = layout.offsets[i];
      const std::optional<ConditionName> name = parse_condition_name(specs[i].name);
      PA_ASSIGN(const std::uint64_t bytes, byte_size(specs[i]));
      admitted_.input_bytes += bytes;
      if (name && name->only >= 0) {
        input.rows = RowsOf::kOne;
        input.only = name->only;
        input.row_bytes = bytes;
      } else if (specs[i].name == kStepNoise) {
        input.rows = RowsOf::kSample;
        input.axis = 1;
        input.groups = static_cast<std::uint64_t>(specs[i].shape[0]);
        input.group_bytes = bytes / input.groups;
        input.row_bytes = input.group_bytes / static_cast<std::uint64_t>(request_.samples);
      } else {
        input.rows = specs[i].shape[0] == request_.samples && request_.samples > 1 ? RowsOf::kSample
                                                                                   : RowsOf::kAll;
        input.row_bytes = bytes / static_cast<std::uint64_t>(specs[i].shape[0]);
      }
      admitted_.inputs.push_back(std::move(input));
    }
    PA_ASSIGN(const std::uint64_t result_bytes, byte_size(admitted_.result));
    admitted_.result_row_bytes = result_bytes / static_cast<std::uint64_t>(request_.samples);
    if (result_bytes > limits_.max_request_bytes ||
        layout.total > limits_.max_request_bytes - result_bytes) {
      return invalid("the request is " + std::to_string(layout.total) + " bytes of input and " +
                         std::to_string(result_bytes) + " of result; this cluster takes " +
                         std::to_string(limits_.max_request_bytes) + " in all",
                     "/samples");
    }
    return {};
  }

  const Request& request_;
  const std::vector<TensorEntry>& tensors_;
  const ModelInfo& model_;
  const AdmissionLimits& limits_;
  std::set<std::string> known_;  ///< Tensors that are not conditions, already checked.
  bool wants_uncond_ = false;    ///< The sampler reads the unconditional answer.
  Admitted admitted_;
};

}  // namespace

Result<Admitted> admit(const Request& request, const std::vector<TensorEntry>& tensors,
                       const ModelInfo& model, const AdmissionLimits& limits) {
  return Admission(request, tensors, model, limits).run();
}

}  // namespace pa
