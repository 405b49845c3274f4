#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "shared/core/request.h"
#include "shared/sampling/prediction.h"
#include "shared/sampling/trace.h"

/// What samplers.cc and the files with the samplers share. Names used there: a and b are the sigmas
/// at the start and the end of a step, D the denoised answer, U the unconditional one, d the slope
/// (x - D) / a, h a step in ln sigma.
namespace pa {

/// An option of a sampler: its name, default, and the values allowed.
struct OptionRule {
  std::string name;
  OptionValue fallback;
  double min = 0;  ///< Numbers only; both ends allowed.
  double max = 1e6;
  bool whole = false;  ///< Numbers only: no fractions.
};

/// The options of one run: every option of the sampler, checked.
class OptionValues {
 public:
  explicit OptionValues(std::map<std::string, OptionValue> values) : values_(std::move(values)) {}
  [[nodiscard]] double number(const std::string& name) const {
    return std::get<double>(values_.at(name));
  }

 private:
  std::map<std::string, OptionValue> values_;
};

/// Everything a sampler sees. It returns the last x.
struct Run {
  Trace& trace;
  const Prediction& prediction;
  std::span<const double> sigmas;  ///< At least two.
  const OptionValues& options;

  [[nodiscard]] std::size_t steps() const { return sigmas.size() - 1; }
};

using SamplerFunction = Expr (*)(const Run& run, Expr x);

struct SamplerRule {
  std::string name;
  SamplerFunction function;
  std::vector<OptionRule> options;
  bool discards_penultimate_sigma = false;
};

/// From noise level s to ratio * s with the answer held fixed: an Euler step of the
/// probability-flow ODE. Exact at ratio 0 and 1.
[[nodiscard]] inline Expr move(const Expr& x, const Expr& denoised, double ratio) {
  return ratio * x + (1.0 - ratio) * denoised;
}

/// The exponential integrator functions: phi_0(x) = e^x, phi_k(x) = (phi_{k-1}(x) - 1/(k-1)!) / x.
[[nodiscard]] double phi(int k, double x);

// euler.cc: Karras et al. 2022 (arXiv 2206.00364) and k-diffusion. With s_churn.
[[nodiscard]] std::vector<OptionRule> churn_options();
[[nodiscard]] Expr euler(const Run& run, Expr x);
[[nodiscard]] Expr heun(const Run& run, Expr x);
[[nodiscard]] Expr heunpp2(const Run& run, Expr x);
[[nodiscard]] Expr dpm_2(const Run& run, Expr x);

// multistep.cc
[[nodiscard]] Expr dpmpp_2m(const Run& run, Expr x);
[[nodiscard]] Expr res_multistep(const Run& run, Expr x);
[[nodiscard]] Expr gradient_estimation(const Run& run, Expr x);
[[nodiscard]] Expr ipndm(const Run& run, Expr x);

}  // namespace pa
