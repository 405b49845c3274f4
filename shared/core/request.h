#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "shared/core/tensor_spec.h"

namespace pa {

/// `sample` runs the whole denoising loop; `forward` one network evaluation.
enum class Operation : std::uint8_t { kSample, kForward };

/// Where start noise comes from: what ComfyUI would draw, a counter-based generator, or the tensor `noise`.
enum class NoiseKind : std::uint8_t { kComfy, kKeyed, kGiven };

/// What inpainting mixes into the part of x that its mask does not cover: the start noise; a draw of
/// ComfyUI's generator with seed + 1; the tensor `inpaint_noise`. Usual: given if it is there, else
/// as ComfyUI with this sampler: fresh for ddim, start for the others.
enum class InpaintNoise : std::uint8_t { kUsual, kStart, kFresh, kGiven };

/// How samples are shared out: by measured cost, or by the configured weights.
enum class Scheduling : std::uint8_t { kMeasured, kStatic };

using OptionValue = std::variant<bool, double, std::string>;

/// A sampler by name, with the options of the reference implementation.
struct SamplerSpec {
  std::string name = "euler";
  std::map<std::string, OptionValue> options;
};

/// A named schedule of `steps` steps. `denoise` in (0, 1]: the part of the noise range that is run.
struct ScheduleSpec {
  std::string name = "simple";
  int steps = 20;
  double denoise = 1.0;
};

/// Overrides of how a model maps sigmas; absent fields are the family's.
struct ModelSampling {
  std::optional<std::string> prediction;  ///< "flow", "eps", "v" or "edm".
  std::optional<double> shift;
  std::optional<double> multiplier;
};

struct Guidance {
  double cfg = 1.0;
  double rescale = 0.0;
  bool skip_at_one = true;
};

/// Conditioning of one polarity: the tensors whose names start with `tensors` + ".", in [start, end] of the run.
struct Condition {
  std::string tensors;
  double strength = 1.0;
  std::string mask;                ///< Name of a tensor, or empty.
  std::vector<std::int64_t> area;  ///< [height, width, y, x] in latent pixels, or empty.
  double start = 0.0;
  double end = 1.0;
};

struct LoraRef {
  std::string name;  ///< In the model's LoRA folder, or "sha256:..." of the file.
  double strength = 1.0;
  bool allow_unmatched = false;  ///< Layers that the network does not have are left out.

  friend bool operator==(const LoraRef&, const LoraRef&) = default;
};

/// What tells LoRA sets apart: equal text, equal weights. Empty for none.
[[nodiscard]] std::string key_of(const std::vector<LoraRef>& loras);

struct Preview {
  int every = 0;  ///< Steps between previews; 0: none.
  int size = 0;   ///< Longest side in pixels; 0: the latent's.
};

/// What a client asks for, without its tensors. The JSON form is docs/request.schema.json.
struct Request {
  Operation op = Operation::kSample;
  std::string model;
  std::int64_t samples = 1;
  Shape latent_shape;  ///< [C, H, W]; empty if a tensor tells it.
  Shape size;          ///< [width, height] in pixels, instead of latent_shape; empty if not given.
  std::uint64_t seed = 0;
  std::optional<std::uint64_t> sampler_seed;  ///< Default: ComfyUI's, see docs/numerics.md.
  NoiseKind noise = NoiseKind::kComfy;
  std::vector<std::int64_t> batch_index;  ///< [N] for comfy draws by index, or empty.
  bool add_noise = true;
  bool leftover_noise = false;
  SamplerSpec sampler;
  std::optional<ScheduleSpec> schedule;  ///< Exactly one of schedule and sigmas for kSample.
  std::vector<float> sigmas;             ///< Descending, at least two.
  ModelSampling model_sampling;
  Guidance guidance;
  std::vector<Condition> positive;
  std::vector<Condition> negative;
  std::vector<std::string> labels;  ///< [N] names of conditions in the model's folder, or empty.
  std::vector<LoraRef> loras;
  bool inpaint = false;  ///< The tensor `mask` is there.
  InpaintNoise inpaint_noise = InpaintNoise::kUsual;
  Preview preview;
  bool partial = false;
  bool deterministic = false;
  std::optional<std::int64_t> max_rows;
  Scheduling scheduling = Scheduling::kMeasured;
  std::vector<std::string> workers;  ///< Names of those that may run it; empty: all.
  int priority = 0;
  double deadline_seconds = 0;  ///< From admission; 0: none.
  std::string tag;
};

/// Network rows that one evaluation of a sample takes: one a condition, those of the negative side only if guidance
/// asks for them.
[[nodiscard]] std::int64_t rows_per_sample(const Request& request);

}  // namespace pa
