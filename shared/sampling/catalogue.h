#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "shared/core/request.h"
#include "shared/sampling/prediction.h"
#include "shared/sampling/program.h"
#include "shared/sampling/trace.h"

/// What samplers.cc, the table of samplers and the files with the samplers share. Names used there: a and b are the
/// sigmas at the start and the end of a step, D the denoised answer, U the unconditional one, d the slope (x - D) / a,
/// h a step in lambda (Prediction::lambda).
namespace pa {

/// An option of a sampler: its name, default, and the values allowed.
struct OptionRule {
  std::string name;
  OptionValue fallback;
  double min = 0;  ///< Numbers only; both ends allowed.
  double max = 1e6;
  bool whole = false;                ///< Numbers only: no fractions.
  std::vector<std::string> choices;  ///< Strings only.
};

/// The options of one run: every option of the sampler, checked.
class OptionValues {
 public:
  explicit OptionValues(std::map<std::string, OptionValue> values) : values_(std::move(values)) {}
  [[nodiscard]] double number(const std::string& name) const {
    return std::get<double>(values_.at(name));
  }
  [[nodiscard]] std::size_t count(const std::string& name) const {
    return static_cast<std::size_t>(number(name));
  }
  [[nodiscard]] bool flag(const std::string& name) const {
    return std::get<bool>(values_.at(name));
  }
  [[nodiscard]] const std::string& text(const std::string& name) const {
    return std::get<std::string>(values_.at(name));
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

/// Properties of a sampler beside its function; several are joined with |.
enum SamplerTraits : unsigned {
  kPlain = 0,
  kDropsPenultimate = 1,  ///< ComfyUI drops the last but one sigma of schedules made for it.
  kContinuesStart = 2,    ///< Its noise goes on where the start noise ended.
  kBrownianTree = 4,      ///< Its noise is a Brownian path, cut into intervals.
  kEndsAboveZero = 8,     ///< Asked for sigma 0, the result counts as one of sigma 0.001.
};

struct SamplerRule {
  std::string name;
  SamplerFunction function = nullptr;
  std::vector<OptionRule> options;
  unsigned traits = kPlain;

  [[nodiscard]] bool is(SamplerTraits trait) const { return (traits & trait) != 0; }
};

/// A sampler that ComfyUI has and we do not, and why.
struct RefusedSampler {
  std::string name;
  std::string reason;
};

/// The table of samplers, and of those that cannot be had.
[[nodiscard]] const std::vector<SamplerRule>& catalogue();
[[nodiscard]] const std::vector<RefusedSampler>& refused_samplers();

/// From noise level s to ratio * s with the answer held fixed: an Euler step of the
/// probability-flow ODE. Exact at ratio 0 and 1.
[[nodiscard]] inline Expr move(const Expr& x, const Expr& denoised, double ratio) {
  return ratio * x + (1.0 - ratio) * denoised;
}

// euler.cc: Karras et al. 2022 (arXiv 2206.00364) and k-diffusion. With s_churn.
[[nodiscard]] Expr euler(const Run& run, Expr x);
[[nodiscard]] Expr heun(const Run& run, Expr x);
[[nodiscard]] Expr heunpp2(const Run& run, Expr x);
[[nodiscard]] Expr dpm_2(const Run& run, Expr x);

// ancestral.cc: a step down, then fresh noise up; k-diffusion.
[[nodiscard]] Expr euler_ancestral(const Run& run, Expr x);
[[nodiscard]] Expr dpm_2_ancestral(const Run& run, Expr x);
[[nodiscard]] Expr dpmpp_2s_ancestral(const Run& run, Expr x);

// cfg_pp.cc: CFG++, Chung et al. 2024 (arXiv 2406.08070).
[[nodiscard]] Expr euler_cfg_pp(const Run& run, Expr x);
[[nodiscard]] Expr euler_ancestral_cfg_pp(const Run& run, Expr x);
[[nodiscard]] Expr dpmpp_2s_ancestral_cfg_pp(const Run& run, Expr x);

// slopes.cc: multistep methods on the slope d.
[[nodiscard]] Expr lms(const Run& run, Expr x);
[[nodiscard]] Expr ipndm(const Run& run, Expr x);
[[nodiscard]] Expr ipndm_v(const Run& run, Expr x);
[[nodiscard]] Expr deis(const Run& run, Expr x);
[[nodiscard]] Expr gradient_estimation(const Run& run, Expr x);
[[nodiscard]] Expr gradient_estimation_cfg_pp(const Run& run, Expr x);

// dpm_fast.cc: Lu et al. 2022 (arXiv 2206.00927).
[[nodiscard]] Expr dpm_fast(const Run& run, Expr x);

// dpmpp.cc: Lu et al. 2022 (arXiv 2211.01095), and its stochastic forms in k-diffusion.
[[nodiscard]] Expr dpmpp_2m(const Run& run, Expr x);
[[nodiscard]] Expr dpmpp_2m_cfg_pp(const Run& run, Expr x);
[[nodiscard]] Expr dpmpp_2m_sde(const Run& run, Expr x);
[[nodiscard]] Expr dpmpp_3m_sde(const Run& run, Expr x);
[[nodiscard]] Expr dpmpp_sde(const Run& run, Expr x);

// res_multistep.cc: Zhang et al. 2023 (arXiv 2308.02157).
[[nodiscard]] Expr res_multistep(const Run& run, Expr x);
[[nodiscard]] Expr res_multistep_cfg_pp(const Run& run, Expr x);
[[nodiscard]] Expr res_multistep_ancestral(const Run& run, Expr x);
[[nodiscard]] Expr res_multistep_ancestral_cfg_pp(const Run& run, Expr x);

// seeds.cc: Gonzalez et al. 2023 (arXiv 2305.14267).
[[nodiscard]] Expr seeds_2(const Run& run, Expr x);
[[nodiscard]] Expr seeds_3(const Run& run, Expr x);
[[nodiscard]] Expr exp_heun_2_x0(const Run& run, Expr x);
[[nodiscard]] Expr exp_heun_2_x0_sde(const Run& run, Expr x);

// er_sde.cc: Cui et al. 2023 (arXiv 2309.06169).
[[nodiscard]] Expr er_sde(const Run& run, Expr x);

// sa_solver.cc: Xue et al. 2023 (arXiv 2309.05019).
[[nodiscard]] Expr sa_solver(const Run& run, Expr x);
[[nodiscard]] Expr sa_solver_pece(const Run& run, Expr x);

// renoise.cc: from the answer, back to a noise level.
[[nodiscard]] Expr ddpm(const Run& run, Expr x);
[[nodiscard]] Expr lcm(const Run& run, Expr x);

// uni_pc.cc: Zhao et al. 2023 (arXiv 2302.04867).
[[nodiscard]] Expr uni_pc(const Run& run, Expr x);
[[nodiscard]] Expr uni_pc_bh2(const Run& run, Expr x);

}  // namespace pa
