#pragma once

#include <span>
#include <string>
#include <vector>

#include "shared/core/request.h"
#include "shared/core/result.h"
#include "shared/sampling/prediction.h"
#include "shared/sampling/program.h"

namespace pa {

/// Names that compile() knows, in the order of the catalogue.
[[nodiscard]] const std::vector<std::string>& sampler_names();

/// Whether the reference implementation drops the last but one sigma of a schedule made for this
/// sampler (it computes one step more, first). False for unknown names.
[[nodiscard]] bool discards_penultimate_sigma(const std::string& sampler);

/// The program of a sampler for a schedule. Pure; a few microseconds a step.
///
/// sigmas: at least two, finite, falling, not negative; the last may be 0.
///
/// Errors: kInvalid with the field, one of
///   /sampler/name            unknown; names the nearest and lists all.
///   /sampler/options/NAME    unknown to this sampler, of another type, or out of range.
///   /sigmas                  not as above, or too extreme for this sampler.
[[nodiscard]] Result<Program> compile(const SamplerSpec& sampler, std::span<const float> sigmas,
                                      const Prediction& prediction);

}  // namespace pa
