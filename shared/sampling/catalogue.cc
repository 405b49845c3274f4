#include "shared/sampling/catalogue.h"

#include <limits>

namespace pa {
namespace {

using Options = std::vector<OptionRule>;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kAsGiven = std::numeric_limits<double>::quiet_NaN();  // Default: as s_noise.
constexpr double kLargest = 100.0;  // Of strengths: what ComfyUI's own nodes allow.

OptionRule number(const char* name, double fallback, double min, double max) {
  return {name, fallback, min, max};
}
OptionRule whole(const char* name, double fallback, double min, double max) {
  return {name, fallback, min, max, /*whole=*/true};
}
OptionRule choice(const char* name, const char* fallback, std::vector<std::string> choices) {
  return {name, std::string(fallback), 0, 0, false, std::move(choices)};
}
OptionRule flag(const char* name) { return {name, false}; }
OptionRule eta() { return number("eta", 1.0, 0.0, kLargest); }
OptionRule s_noise() { return number("s_noise", 1.0, 0.0, kLargest); }

Options churn() {
  return {number("s_churn", 0.0, 0.0, 1e6), number("s_tmin", 0.0, 0.0, 1e6),
          number("s_tmax", kInfinity, 0.0, kInfinity), s_noise()};
}
Options slopes(const char* name, double order, double most) {
  return {whole(name, order, 1, most)};
}
Options gamma() { return {number("ge_gamma", 2.0, -1e3, 1e3)}; }
Options midpoint_or_heun(const char* fallback) {
  return {eta(), s_noise(), choice("solver_type", fallback, {"midpoint", "heun"})};
}
OptionRule fraction(const char* name, double fallback) { return number(name, fallback, 0.01, 1.0); }
Options with_midpoint() { return {eta(), s_noise(), number("r", 0.5, 0.01, kLargest)}; }
OptionRule phi_rule(const char* fallback) {
  return choice("solver_type", fallback, {"phi_1", "phi_2"});
}
Options stochastic_adams(bool with_pece) {
  Options options{s_noise(),
                  eta(),
                  number("sde_start_percent", 0.2, 0.0, 1.0),
                  number("sde_end_percent", 0.8, 0.0, 1.0),
                  whole("predictor_order", 3, 1, 6),
                  whole("corrector_order", 4, 0, 6),
                  flag("simple_order_2")};
  if (with_pece) options.push_back(flag("use_pece"));
  return options;
}

}  // namespace

const std::vector<SamplerRule>& catalogue() {
  static const std::vector<SamplerRule> kCatalogue{
      {"euler", euler, churn(), kContinuesStart},
      {"euler_cfg_pp", euler_cfg_pp, {}},
      {"euler_ancestral", euler_ancestral, {eta(), s_noise()}},
      {"euler_ancestral_cfg_pp", euler_ancestral_cfg_pp, {eta(), s_noise()}},
      {"heun", heun, churn(), kContinuesStart},
      {"heunpp2", heunpp2, churn(), kContinuesStart},
      {"exp_heun_2_x0", exp_heun_2_x0, {phi_rule("phi_2")}},
      {"exp_heun_2_x0_sde", exp_heun_2_x0_sde, {eta(), s_noise(), phi_rule("phi_2")}},
      {"dpm_2", dpm_2, churn(), kContinuesStart | kDropsPenultimate},
      {"dpm_2_ancestral", dpm_2_ancestral, {eta(), s_noise()}, kDropsPenultimate},
      {"lms", lms, slopes("order", 4, 100)},
      {"dpm_fast", dpm_fast, {}},
      {"dpmpp_2s_ancestral", dpmpp_2s_ancestral, {eta(), s_noise()}},
      {"dpmpp_2s_ancestral_cfg_pp", dpmpp_2s_ancestral_cfg_pp, {eta(), s_noise()}},
      {"dpmpp_sde", dpmpp_sde, with_midpoint(), kBrownianTree},
      {"dpmpp_sde_gpu", dpmpp_sde, with_midpoint(), kBrownianTree},
      {"dpmpp_2m", dpmpp_2m, {}},
      {"dpmpp_2m_cfg_pp", dpmpp_2m_cfg_pp, {}},
      {"dpmpp_2m_sde", dpmpp_2m_sde, midpoint_or_heun("midpoint"), kBrownianTree},
      {"dpmpp_2m_sde_gpu", dpmpp_2m_sde, midpoint_or_heun("midpoint"), kBrownianTree},
      {"dpmpp_2m_sde_heun", dpmpp_2m_sde, midpoint_or_heun("heun"), kBrownianTree},
      {"dpmpp_2m_sde_heun_gpu", dpmpp_2m_sde, midpoint_or_heun("heun"), kBrownianTree},
      {"dpmpp_3m_sde", dpmpp_3m_sde, {eta(), s_noise()}, kBrownianTree},
      {"dpmpp_3m_sde_gpu", dpmpp_3m_sde, {eta(), s_noise()}, kBrownianTree},
      {"ddpm", ddpm, {}},
      {"lcm", lcm, {s_noise(), number("s_noise_end", kAsGiven, 0.0, kLargest)}},
      {"ipndm", ipndm, slopes("max_order", 4, 4)},
      {"ipndm_v", ipndm_v, slopes("max_order", 4, 4)},
      {"deis", deis, {whole("max_order", 3, 1, 4), choice("deis_mode", "tab", {"tab"})}},
      {"res_multistep", res_multistep, {s_noise()}},
      {"res_multistep_cfg_pp", res_multistep_cfg_pp, {s_noise()}},
      {"res_multistep_ancestral", res_multistep_ancestral, {eta(), s_noise()}},
      {"res_multistep_ancestral_cfg_pp", res_multistep_ancestral_cfg_pp, {eta(), s_noise()}},
      {"gradient_estimation", gradient_estimation, gamma()},
      {"gradient_estimation_cfg_pp", gradient_estimation_cfg_pp, gamma()},
      {"er_sde",
       er_sde,
       {choice("solver_type", "ER-SDE", {"ER-SDE", "Reverse-time SDE", "ODE"}), eta(), s_noise(),
        whole("max_stage", 3, 1, 3)}},
      {"seeds_2", seeds_2, {eta(), s_noise(), fraction("r", 0.5), phi_rule("phi_1")}},
      {"seeds_3",
       seeds_3,
       {eta(), s_noise(), fraction("r_1", 1.0 / 3.0), fraction("r_2", 2.0 / 3.0)}},
      {"sa_solver", sa_solver, stochastic_adams(/*with_pece=*/true)},
      {"sa_solver_pece", sa_solver_pece, stochastic_adams(/*with_pece=*/false)},
      {"ddim", euler, churn(), kContinuesStart},
      {"uni_pc", uni_pc, {}, kDropsPenultimate | kEndsAboveZero},
      {"uni_pc_bh2", uni_pc_bh2, {}, kDropsPenultimate | kEndsAboveZero},
  };
  return kCatalogue;
}

const std::vector<RefusedSampler>& refused_samplers() {
  static const std::vector<RefusedSampler> kRefused{
      {"dpm_adaptive",
       "its step sizes follow from the error over the whole batch, so a sample would depend on how "
       "the batch is split; dpmpp_2m and dpm_fast are its nearest kin"},
  };
  return kRefused;
}

}  // namespace pa
