#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "shared/core/tensor_spec.h"

namespace pa {

/// An input a network takes beside x and sigma. A request gives it as `cond.K.NAME`, one row or one a sample.
struct InputSpec {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;  ///< Without the row axis; -1: any size.
  bool required = true;

  friend bool operator==(const InputSpec&, const InputSpec&) = default;
};

/// How a model mixes data and noise, and what its output means.
struct SamplingInfo {
  std::string prediction = "flow";  ///< "flow" (CONST), "eps", "v" or "edm".
  /// Kind of sigma table: "flow" (sigma = s*t / (1 + (s-1)*t), 1000 entries), "flux" (exponential in mu, 10000 entries),
  /// "discrete" (scaled-linear betas, 1000 entries) or "continuous" (even in ln sigma, 1000 entries).
  std::string type = "flow";
  double shift = 1.0;              ///< s for "flow", mu for "flux".
  double multiplier = 1.0;         ///< Network time = sigma * multiplier; "flow" only.
  bool zero_terminal_snr = false;  ///< "discrete": rescaled so that no data is left at the end.
  double sigma_min = 0.002;        ///< "continuous".
  double sigma_max = 120.0;        ///< "continuous".
  double sigma_data = 0.0;  ///< Deviation of the data, not for "flow"; 0: 0.5 for "edm", else 1.

  friend bool operator==(const SamplingInfo&, const SamplingInfo&) = default;
};

/// A LoRA file that a worker can put on a model.
struct LoraInfo {
  std::string name;
  std::string identity;  ///< "sha256:..." of the file.

  friend bool operator==(const LoraInfo&, const LoraInfo&) = default;
};

/// What a worker can run, as it announces it, and what a request is checked against before any device sees it.
struct ModelInfo {
  std::string name;      ///< The folder's name.
  std::string identity;  ///< "sha256:..." of its files; equal on workers that may share a request.
  std::string family;    ///< "flux", "noop", ...
  SamplingInfo sampling;
  Shape latent;  ///< [C, H, W] with -1 for any; empty: any shape at all (noop).
  std::vector<InputSpec> inputs;
  std::vector<std::string> labels;  ///< Conditions that the model folder has by name.
  double pixel_min = 0;             ///< If pixel_max > pixel_min, latents are pixels in this range.
  double pixel_max = 0;
  /// How latents look that are no pixels, [1 + C, 3]: red, green and blue, 0 to 1, of zeros, and what each channel adds
  /// to them for a value of 1. Empty: not known.
  std::vector<double> colours;
  std::int64_t parameters = 0;
  std::vector<LoraInfo> loras;  ///< By name.

  friend bool operator==(const ModelInfo&, const ModelInfo&) = default;
};

/// A model in a device's memory.
struct LoadedModel {
  std::string model;
  std::string loras;          ///< key_of() the set that is on its weights.
  double load_seconds = 0;    ///< That it took to get there.
  double switch_seconds = 0;  ///< That the last change of its LoRAs took; 0: there was none.
};

}  // namespace pa
