#include "shared/sampling/network_scales.h"

#include <cmath>

namespace pa {
namespace {

float deviation_of_data(const SamplingInfo& sampling) {
  if (sampling.sigma_data > 0.0) return static_cast<float>(sampling.sigma_data);
  return sampling.prediction == "edm" ? 0.5F : 1.0F;
}

}  // namespace

NetworkScales network_scales(const SamplingInfo& sampling, float sigma) {
  const std::string& prediction = sampling.prediction;
  if (prediction == "flow") return {1.0F, 1.0F, -sigma};
  const float data = deviation_of_data(sampling);
  const float total = sigma * sigma + data * data;
  const float input = 1.0F / std::sqrt(total);
  if (prediction == "eps") return {input, 1.0F, -sigma};
  const float answer = sigma * data / std::sqrt(total);
  return {input, data * data / total, prediction == "edm" ? answer : -answer};
}

}  // namespace pa
