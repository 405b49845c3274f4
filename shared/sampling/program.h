#pragma once

#include <cstdint>
#include <vector>

/// Samplers as programs: what a sampler does with given sigmas, step by step, as plain data.
///
/// Every sampler here updates by linear combinations of whole tensors, with scalars that follow
/// from sigmas and options alone. So it is known beforehand which values are evaluated at which
/// sigma, which noises are drawn, and how everything is combined. The tensors live in numbered
/// slots, float32 each; scalars are double here and float32 when used.
namespace pa {

struct Term {
  int slot = 0;
  double weight = 0;
  friend bool operator==(const Term&, const Term&) = default;
};

/// slot <- the sum of weight * slot over `terms`, in their order.
struct Update {
  int slot = 0;
  std::vector<Term> terms;
  friend bool operator==(const Update&, const Update&) = default;
};

/// Unit noise for the interval of sigma [from, to], put into `slot`.
struct NoiseDraw {
  double from = 0;
  double to = 0;
  int slot = -1;  ///< -1: drawn, so that a sequential generator keeps count, and dropped.
  friend bool operator==(const NoiseDraw&, const NoiseDraw&) = default;
};

/// One network evaluation, and the update that follows it.
struct Stage {
  int step = -1;     ///< The step that begins here; -1 within a step.
  int input = -1;    ///< Slot to denoise: x, or a midpoint. -1: none (noise before the first step).
  double sigma = 0;  ///< The noise level of `input`.
  int denoised = -1;  ///< Slot for the denoised answer.
  int uncond = -1;    ///< Slot for the unconditional answer; -1: not wanted.
  std::vector<NoiseDraw> draws;
  std::vector<Update> updates;  ///< All read the slots as they were before any of them is written.
  friend bool operator==(const Stage&, const Stage&) = default;
};

/// Which generator of the reference implementation the draws of a program come from.
enum class NoiseOrigin : std::uint8_t {
  kSampler,   ///< One seeded for the sampler; a draw for the whole batch each time.
  kStart,     ///< The one that drew the start noise, going on where that ended.
  kBrownian,  ///< A Brownian path over the schedule, of which draws are increments.
};

/// A sampler compiled for one schedule. x enters in slot 0.
struct Program {
  std::vector<Stage> stages;
  int slots = 1;
  int result = 0;        ///< Slot that x leaves in.
  double end_sigma = 0;  ///< Noise level of the result.
  NoiseOrigin noise_origin = NoiseOrigin::kSampler;
  double sigma_min = 0;  ///< The schedule's lowest positive sigma, and its highest: the ends of a
  double sigma_max = 0;  ///< Brownian path.
  friend bool operator==(const Program&, const Program&) = default;
};

/// Steps of a program: what progress counts.
[[nodiscard]] int steps_of(const Program& program);
/// Network evaluations of a program, before guidance multiplies them.
[[nodiscard]] int evaluations_of(const Program& program);
/// Unit noises that a program asks for, the dropped ones included.
[[nodiscard]] int draws_of(const Program& program);

}  // namespace pa
