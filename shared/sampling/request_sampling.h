#pragma once

#include <vector>

#include "shared/core/model_info.h"
#include "shared/core/request.h"
#include "shared/core/result.h"
#include "shared/sampling/prediction.h"
#include "shared/sampling/program.h"
#include "shared/sampling/sigma_table.h"

/// From a request and a model to what is run. The coordinator admits and costs with it, the engine
/// runs it: both get the same. Pure.
namespace pa {

/// The model's sampling with the overrides of request.model_sampling. A prediction of the other
/// kind takes its table along: "flow" a flow table, the others a discrete one.
///
/// Errors: kInvalid at /model_sampling or a field of it.
[[nodiscard]] Result<SamplingInfo> sampling_of(const Request& request, const SamplingInfo& model);

[[nodiscard]] Prediction prediction_of(const SamplingInfo& sampling, const SigmaTable& table);

/// The noise levels that a kSample request runs through: its own `sigmas`, or those of its
/// schedule. Unless `leftover_noise`, the last one is 0, whatever was asked (as KSamplerAdvanced).
///
/// Errors: kInvalid at /sigmas, /schedule or a field of them, /model_sampling.
[[nodiscard]] Result<std::vector<float>> sigmas_of(const Request& request,
                                                   const SamplingInfo& model);

/// The program that a kSample request runs for each of its samples. steps_of() of it is what
/// progress counts.
///
/// Errors: as sigmas_of() and compile().
[[nodiscard]] Result<Program> program_of(const Request& request, const SamplingInfo& model);

}  // namespace pa
