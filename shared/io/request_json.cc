#include "shared/io/request_json.h"

#include <array>
#include <charconv>
#include <limits>
#include <utility>
#include <variant>

#include "shared/io/json_reader.h"

namespace pa {
namespace {

using json::Json;
using json::Named;
using json::Object;
using json::Place;
using json::Verdict;

constexpr std::array<Named<Operation>, 2> kOperations{
    {{"sample", Operation::kSample}, {"forward", Operation::kForward}}};
constexpr std::array<Named<NoiseKind>, 3> kNoiseKinds{
    {{"comfy", NoiseKind::kComfy}, {"keyed", NoiseKind::kKeyed}, {"given", NoiseKind::kGiven}}};
constexpr std::array<Named<InpaintNoise>, 4> kInpaintNoises{{{"usual", InpaintNoise::kUsual},
                                                             {"start", InpaintNoise::kStart},
                                                             {"fresh", InpaintNoise::kFresh},
                                                             {"given", InpaintNoise::kGiven}}};
constexpr std::array<Named<Scheduling>, 2> kSchedulings{
    {{"measured", Scheduling::kMeasured}, {"static", Scheduling::kStatic}}};

constexpr std::int64_t kMaxSamples = 65536;
constexpr std::int64_t kMaxSide = 65536;
constexpr std::int64_t kMaxSteps = 10000;
constexpr std::size_t kMaxText = 256;
constexpr std::size_t kMaxEntries =
    64;  ///< Conditions, LoRAs and options; a request has a handful.
constexpr double kMaxSigma = 1e6;
constexpr double kMaxFactor = 1e6;
constexpr double kMaxSeconds = 366.0 * 24 * 3600;

template <std::size_t N>
using Names = std::array<std::string, N>;

void read_sampler(const Place& place, SamplerSpec& out) {
  static const Names<2> kFields{"name", "options"};
  const Object object(place, kFields);
  object.with("name", [&](const Place& p) { p.read(out.name, 1, kMaxText); });
  object.with("options", [&](const Place& p) {
    if (!p.value.is_object() || p.value.size() > kMaxEntries) {
      return p.expected("an object of at most " + std::to_string(kMaxEntries) + " options");
    }
    for (const auto& [name, value] : p.value.items()) {
      if (value.is_boolean()) {
        out.options[name] = value.template get<bool>();
      } else if (value.is_number()) {
        out.options[name] = value.template get<double>();
      } else if (value.is_string()) {
        out.options[name] = value.template get<std::string>();
      } else {
        Place{value, p.pointer + "/" + json::escaped(name), p.verdict}.expected(
            "true, false, a number or text");
      }
    }
  });
}

void read_schedule(const Place& place, ScheduleSpec& out) {
  static const Names<3> kFields{"name", "steps", "denoise"};
  const Object object(place, kFields);
  object.with("name", [&](const Place& p) { p.read(out.name, 1, kMaxText); });
  object.with("steps", [&](const Place& p) {
    std::int64_t steps = out.steps;
    p.read_integer<std::int64_t>(steps, 1, kMaxSteps);
    out.steps = static_cast<int>(steps);
  });
  object.with("denoise", [&](const Place& p) { p.read(out.denoise, 0.0, 1.0, true); });
}

void read_sigmas(const Place& place, std::vector<float>& out) {
  place.read_list(2, static_cast<std::size_t>(kMaxSteps) + 1, "numbers, descending",
                  [&](const Place& p) {
                    double sigma = 0;
                    p.read(sigma, 0.0, kMaxSigma);
                    const auto rounded = static_cast<float>(sigma);
                    if (p.verdict.ok() && !out.empty() && rounded > out.back()) {
                      p.expected("at most " + json::number_text(static_cast<double>(out.back())) +
                                 ", since sigmas descend");
                    }
                    out.push_back(rounded);
                  });
}

void read_model_sampling(const Place& place, ModelSampling& out) {
  static const Names<3> kFields{"prediction", "shift", "multiplier"};
  static constexpr std::array<Named<std::string_view>, 4> kPredictions{
      {{"flow", "flow"}, {"eps", "eps"}, {"v", "v"}, {"edm", "edm"}}};
  const Object object(place, kFields);
  object.with("prediction", [&](const Place& p) {
    std::string_view prediction;
    p.read_name(prediction, kPredictions);
    out.prediction = std::string(prediction);
  });
  object.with("shift", [&](const Place& p) { p.read(out.shift.emplace(), 0.0, kMaxFactor, true); });
  object.with("multiplier",
              [&](const Place& p) { p.read(out.multiplier.emplace(), 0.0, kMaxFactor, true); });
}

void read_guidance(const Place& place, Guidance& out) {
  static const Names<3> kFields{"cfg", "rescale", "skip_at_one"};
  const Object object(place, kFields);
  object.with("cfg", [&](const Place& p) { p.read(out.cfg, 0.0, 1000.0); });
  object.with("rescale", [&](const Place& p) { p.read(out.rescale, 0.0, 1.0); });
  object.with("skip_at_one", [&](const Place& p) { p.read(out.skip_at_one); });
}

void read_condition(const Place& place, Condition& out) {
  static const Names<6> kFields{"tensors", "strength", "mask", "area", "start", "end"};
  const Object object(place, kFields);
  object.require("tensors", "the prefix of the condition's tensors, such as 'cond.0'");
  object.with("tensors", [&](const Place& p) { p.read(out.tensors, 1, kMaxText); });
  object.with("strength", [&](const Place& p) { p.read(out.strength, -1000.0, 1000.0); });
  object.with_nullable("mask", [&](const Place& p) { p.read(out.mask, 1, kMaxText); });
  object.with_nullable("area",
                       [&](const Place& p) { p.read_integers(out.area, 4, 4, 0, kMaxSide); });
  object.with("start", [&](const Place& p) { p.read(out.start, 0.0, 1.0); });
  object.with("end", [&](const Place& p) { p.read(out.end, 0.0, 1.0); });
  object.with("end", [&](const Place& p) {
    if (out.end < out.start) p.expected("at least start, " + json::number_text(out.start));
  });
}

void read_conditions(const Place& place, std::vector<Condition>& out) {
  place.read_list(0, kMaxEntries, "conditions",
                  [&](const Place& p) { read_condition(p, out.emplace_back()); });
}

void read_lora(const Place& place, LoraRef& out) {
  static const Names<3> kFields{"name", "strength", "allow_unmatched"};
  const Object object(place, kFields);
  object.require("name", "the LoRA's name, or sha256:... of its file");
  object.with("name", [&](const Place& p) { p.read(out.name, 1, kMaxText); });
  object.with("strength", [&](const Place& p) { p.read(out.strength, -1000.0, 1000.0); });
  object.with("allow_unmatched", [&](const Place& p) { p.read(out.allow_unmatched); });
}

void read_preview(const Place& place, Preview& out) {
  static const Names<2> kFields{"every", "size"};
  const Object object(place, kFields);
  object.with("every",
              [&](const Place& p) { p.read_integer(out.every, 0, static_cast<int>(kMaxSteps)); });
  object.with("size",
              [&](const Place& p) { p.read_integer(out.size, 0, static_cast<int>(kMaxSide)); });
}

/// Everything that sampling alone has a use for.
const Names<15> kSampleOnly{"latent_shape", "size",        "seed",      "sampler_seed",
                            "noise",        "batch_index", "add_noise", "leftover_noise",
                            "sampler",      "schedule",    "sigmas",    "guidance",
                            "negative",     "inpaint",     "preview"};

/// What no single field can tell.
void check_together(const Object& object, const Request& request, Verdict& verdict) {
  if (request.op == Operation::kForward) {
    for (const std::string& name : kSampleOnly) {
      if (object.has(name)) {
        verdict.fail(object.pointer(name),
                     "not a field of op 'forward', which evaluates the network once on the tensors "
                     "x and timestep: remove it, or set op to 'sample'");
      }
    }
  } else if (object.has("schedule") == object.has("sigmas")) {
    verdict.fail(object.pointer("schedule"),
                 object.has("schedule")
                     ? "expected exactly one of schedule and sigmas, found both"
                     : "expected exactly one of schedule and sigmas, found neither");
  }
  if (object.has("latent_shape") && object.has("size")) {
    verdict.fail(object.pointer("size"),
                 "expected at most one of latent_shape and size, found both");
  }
  const auto samples = static_cast<std::size_t>(request.samples);
  if (object.has("labels") && request.labels.size() != samples) {
    verdict.fail(object.pointer("labels"), "expected one label a sample, " +
                                               std::to_string(samples) + ", found " +
                                               std::to_string(request.labels.size()));
  }
  if (object.has("labels") && !request.positive.empty()) {
    verdict.fail(object.pointer("labels"), "expected labels or positive, found both");
  }
  if (object.has("batch_index")) {
    if (request.noise != NoiseKind::kComfy) {
      verdict.fail(object.pointer("batch_index"),
                   "is for noise 'comfy' only: remove it, or set noise to 'comfy'");
    }
    if (request.batch_index.size() != samples) {
      verdict.fail(object.pointer("batch_index"), "expected one index a sample, " +
                                                      std::to_string(samples) + ", found " +
                                                      std::to_string(request.batch_index.size()));
    }
  }
}

void read_request(const Place& place, Request& out) {
  static const Names<30> kFields{"op",          "model",      "samples",        "latent_shape",
                                 "size",        "seed",       "sampler_seed",   "noise",
                                 "batch_index", "add_noise",  "leftover_noise", "sampler",
                                 "schedule",    "sigmas",     "model_sampling", "guidance",
                                 "positive",    "negative",   "labels",         "loras",
                                 "inpaint",     "preview",    "partial",        "deterministic",
                                 "max_rows",    "scheduling", "priority",       "deadline_seconds",
                                 "tag",         "workers"};
  constexpr auto kAnySeed = std::numeric_limits<std::uint64_t>::max();
  const Object object(place, kFields);
  object.require("model", "the name of a model folder, or sha256:...");
  object.with("op", [&](const Place& p) { p.read_name(out.op, kOperations); });
  object.with("model", [&](const Place& p) { p.read(out.model, 1, kMaxText); });
  object.with("samples",
              [&](const Place& p) { p.read_integer<std::int64_t>(out.samples, 1, kMaxSamples); });
  object.with("latent_shape",
              [&](const Place& p) { p.read_integers(out.latent_shape, 3, 3, 1, kMaxSide); });
  object.with("size", [&](const Place& p) { p.read_integers(out.size, 2, 2, 1, kMaxSide); });
  object.with("seed",
              [&](const Place& p) { p.read_integer<std::uint64_t>(out.seed, 0, kAnySeed); });
  object.with_nullable("sampler_seed", [&](const Place& p) {
    p.read_integer<std::uint64_t>(out.sampler_seed.emplace(), 0, kAnySeed);
  });
  object.with("noise", [&](const Place& p) { p.read_name(out.noise, kNoiseKinds); });
  object.with("batch_index", [&](const Place& p) {
    p.read_integers(out.batch_index, 1, static_cast<std::size_t>(kMaxSamples), 0, kMaxSamples);
  });
  object.with("add_noise", [&](const Place& p) { p.read(out.add_noise); });
  object.with("leftover_noise", [&](const Place& p) { p.read(out.leftover_noise); });
  object.with("sampler", [&](const Place& p) { read_sampler(p, out.sampler); });
  object.with("schedule", [&](const Place& p) { read_schedule(p, out.schedule.emplace()); });
  object.with("sigmas", [&](const Place& p) { read_sigmas(p, out.sigmas); });
  object.with("model_sampling",
              [&](const Place& p) { read_model_sampling(p, out.model_sampling); });
  object.with("guidance", [&](const Place& p) { read_guidance(p, out.guidance); });
  object.with("positive", [&](const Place& p) { read_conditions(p, out.positive); });
  object.with("negative", [&](const Place& p) { read_conditions(p, out.negative); });
  object.with("labels", [&](const Place& p) {
    p.read_list(1, static_cast<std::size_t>(kMaxSamples), "labels",
                [&](const Place& label) { label.read(out.labels.emplace_back(), 1, kMaxText); });
  });
  object.with("loras", [&](const Place& p) {
    p.read_list(0, kMaxEntries, "LoRAs",
                [&](const Place& lora) { read_lora(lora, out.loras.emplace_back()); });
  });
  object.with("inpaint", [&](const Place& p) {
    static const Names<1> kInpaintFields{"noise"};
    const Object inpaint(p, kInpaintFields);
    inpaint.with("noise", [&](const Place& n) { n.read_name(out.inpaint_noise, kInpaintNoises); });
    out.inpaint = true;
  });
  object.with("preview", [&](const Place& p) { read_preview(p, out.preview); });
  object.with("partial", [&](const Place& p) { p.read(out.partial); });
  object.with("deterministic", [&](const Place& p) { p.read(out.deterministic); });
  object.with_nullable("max_rows", [&](const Place& p) {
    p.read_integer<std::int64_t>(out.max_rows.emplace(), 1, kMaxSamples);
  });
  object.with("scheduling", [&](const Place& p) { p.read_name(out.scheduling, kSchedulings); });
  object.with("workers", [&](const Place& p) {
    p.read_list(0, kMaxEntries, "names of workers",
                [&](const Place& name) { name.read(out.workers.emplace_back(), 1, kMaxText); });
  });
  object.with("priority", [&](const Place& p) { p.read_integer(out.priority, -1000, 1000); });
  object.with("deadline_seconds",
              [&](const Place& p) { p.read(out.deadline_seconds, 0.0, kMaxSeconds); });
  object.with("tag", [&](const Place& p) { p.read(out.tag, 0, kMaxText); });
  if (place.verdict.ok()) check_together(object, out, place.verdict);
}

// ------------------------------------------------------------------------------------- writing

/// The double with the shortest decimal form among those that round to `value`: 14.6146, not
/// 14.614600181579590.
double shortest_double(float value) {
  std::array<char, 32> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
  double result = 0;
  std::from_chars(text.data(), end, result);
  return static_cast<float>(result) == value ? result : static_cast<double>(value);
}

template <class T, std::size_t N>
std::string name_in(const std::array<Named<T>, N>& names, T value) {
  for (const auto& entry : names) {
    if (entry.value == value) return std::string(entry.name);
  }
  return {};
}

/// Sets `object[name]` unless the value is what it would be anyway.
template <class T>
void put(Json& object, const char* name, const T& value, const T& usual) {
  if (value != usual) object[name] = value;
}

Json json_of(const SamplerSpec& sampler) {
  Json object = Json::object();
  put(object, "name", sampler.name, SamplerSpec{}.name);
  for (const auto& [name, value] : sampler.options) {
    std::visit([&, &key = name](const auto& v) { object["options"][key] = v; }, value);
  }
  return object;
}

Json json_of(const ScheduleSpec& schedule) {
  return {{"name", schedule.name}, {"steps", schedule.steps}, {"denoise", schedule.denoise}};
}

Json json_of(const ModelSampling& sampling) {
  Json object = Json::object();
  if (sampling.prediction) object["prediction"] = *sampling.prediction;
  if (sampling.shift) object["shift"] = *sampling.shift;
  if (sampling.multiplier) object["multiplier"] = *sampling.multiplier;
  return object;
}

Json json_of(const Guidance& guidance) {
  const Guidance usual;
  Json object = Json::object();
  put(object, "cfg", guidance.cfg, usual.cfg);
  put(object, "rescale", guidance.rescale, usual.rescale);
  put(object, "skip_at_one", guidance.skip_at_one, usual.skip_at_one);
  return object;
}

Json json_of(const Condition& condition) {
  const Condition usual;
  Json object = {{"tensors", condition.tensors}};
  put(object, "strength", condition.strength, usual.strength);
  put(object, "mask", condition.mask, usual.mask);
  put(object, "area", condition.area, usual.area);
  put(object, "start", condition.start, usual.start);
  put(object, "end", condition.end, usual.end);
  return object;
}

Json json_of(const LoraRef& lora) {
  Json object = {{"name", lora.name}};
  put(object, "strength", lora.strength, LoraRef{}.strength);
  put(object, "allow_unmatched", lora.allow_unmatched, LoraRef{}.allow_unmatched);
  return object;
}

Json json_of(const Preview& preview) {
  Json object = Json::object();
  put(object, "every", preview.every, 0);
  put(object, "size", preview.size, 0);
  return object;
}

/// An object or list, left out if empty.
void put_part(Json& object, const char* name, Json part) {
  if (!part.empty()) object[name] = std::move(part);
}

template <class T>
Json list_of(const std::vector<T>& values) {
  Json list = Json::array();
  for (const T& value : values) list.push_back(json_of(value));
  return list;
}

Json json_of(const Request& request) {
  const Request usual;
  Json object = {{"op", name_in(kOperations, request.op)},
                 {"model", request.model},
                 {"samples", request.samples}};
  put(object, "latent_shape", request.latent_shape, usual.latent_shape);
  put(object, "size", request.size, usual.size);
  put(object, "seed", request.seed, usual.seed);
  if (request.sampler_seed) object["sampler_seed"] = *request.sampler_seed;
  if (request.noise != usual.noise) object["noise"] = name_in(kNoiseKinds, request.noise);
  put(object, "batch_index", request.batch_index, usual.batch_index);
  put(object, "add_noise", request.add_noise, usual.add_noise);
  put(object, "leftover_noise", request.leftover_noise, usual.leftover_noise);
  put_part(object, "sampler", json_of(request.sampler));
  if (request.schedule) object["schedule"] = json_of(*request.schedule);
  for (const float sigma : request.sigmas) object["sigmas"].push_back(shortest_double(sigma));
  put_part(object, "model_sampling", json_of(request.model_sampling));
  put_part(object, "guidance", json_of(request.guidance));
  put_part(object, "positive", list_of(request.positive));
  put_part(object, "negative", list_of(request.negative));
  put(object, "labels", request.labels, usual.labels);
  put_part(object, "loras", list_of(request.loras));
  if (request.inpaint) {
    object["inpaint"] = Json::object();
    if (request.inpaint_noise != usual.inpaint_noise) {
      object["inpaint"]["noise"] = name_in(kInpaintNoises, request.inpaint_noise);
    }
  }
  put_part(object, "preview", json_of(request.preview));
  put(object, "partial", request.partial, usual.partial);
  put(object, "deterministic", request.deterministic, usual.deterministic);
  if (request.max_rows) object["max_rows"] = *request.max_rows;
  if (request.scheduling != usual.scheduling) {
    object["scheduling"] = name_in(kSchedulings, request.scheduling);
  }
  put(object, "workers", request.workers, usual.workers);
  put(object, "priority", request.priority, usual.priority);
  put(object, "deadline_seconds", request.deadline_seconds, usual.deadline_seconds);
  put(object, "tag", request.tag, usual.tag);
  return object;
}

}  // namespace

Result<Request> parse_request(std::string_view json) {
  PA_ASSIGN(const Json document, json::parse(json));
  Verdict verdict;
  Request request;
  read_request(Place{document, "", verdict}, request);
  if (!verdict.ok()) return verdict.error();
  return request;
}

std::string to_json(const Request& request) {
  // Text that is no UTF-8 cannot come from parse_request(); it would be shown with a replacement.
  return json_of(request).dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace pa
