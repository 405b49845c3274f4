#include "shared/sampling/request_sampling.h"

#include "shared/sampling/samplers.h"
#include "shared/sampling/schedules.h"

namespace pa {

Result<SamplingInfo> sampling_of(const Request& request, const SamplingInfo& model) {
  SamplingInfo sampling = model;
  const ModelSampling& overrides = request.model_sampling;
  if (overrides.prediction) {
    const bool was_flow = sampling.prediction == "flow";
    sampling.prediction = *overrides.prediction;
    const bool is_flow = sampling.prediction == "flow";
    if (is_flow != was_flow) sampling.type = is_flow ? "flow" : "discrete";
  }
  if (overrides.shift) {
    if (sampling.prediction != "flow") {
      return invalid("prediction '" + sampling.prediction + "' has no shift",
                     "/model_sampling/shift");
    }
    sampling.shift = *overrides.shift;
  }
  if (overrides.multiplier) {
    if (sampling.type != "flow") {
      return invalid("sigmas of type " + sampling.type + " have no multiplier",
                     "/model_sampling/multiplier");
    }
    sampling.multiplier = *overrides.multiplier;
  }
  PA_ASSIGN([[maybe_unused]] const SigmaTable table, SigmaTable::make(sampling));
  return sampling;
}

Prediction prediction_of(const SamplingInfo& sampling, const SigmaTable& table) {
  return {sampling.prediction == "flow",
          [table](double percent) { return table.percent_to_sigma(percent); }};
}

Result<std::vector<float>> sigmas_of(const Request& request, const SamplingInfo& model) {
  if (request.schedule.has_value() == !request.sigmas.empty()) {
    return invalid("expected either a schedule or sigmas, found " +
                       std::string(request.schedule ? "both" : "neither"),
                   request.schedule ? "/sigmas" : "/schedule");
  }
  std::vector<float> sigmas = request.sigmas;
  if (request.schedule) {
    PA_ASSIGN(const SamplingInfo sampling, sampling_of(request, model));
    PA_ASSIGN(const SigmaTable table, SigmaTable::make(sampling));
    PA_ASSIGN(sigmas,
              schedule(*request.schedule, table, discards_penultimate_sigma(request.sampler.name)));
  }
  if (!request.leftover_noise) sigmas.back() = 0.0F;
  return sigmas;
}

Result<Program> program_of(const Request& request, const SamplingInfo& model) {
  PA_ASSIGN(const SamplingInfo sampling, sampling_of(request, model));
  PA_ASSIGN(const SigmaTable table, SigmaTable::make(sampling));
  PA_ASSIGN(const std::vector<float> sigmas, sigmas_of(request, model));
  return compile(request.sampler, sigmas, prediction_of(sampling, table));
}

}  // namespace pa
