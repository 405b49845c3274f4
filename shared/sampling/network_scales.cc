#include "shared/sampling/network_scales.h"

#include <cmath>

namespace pa {

NetworkScales network_scales(const std::string& prediction, float sigma) {
  if (prediction == "flow") return {1.0F, 1.0F, -sigma};
  const float data = prediction == "edm" ? 0.5F : 1.0F;
  const float total = sigma * sigma + data * data;
  const float input = 1.0F / std::sqrt(total);
  if (prediction == "eps") return {input, 1.0F, -sigma};
  const float answer = sigma * data / std::sqrt(total);
  return {input, data * data / total, prediction == "edm" ? answer : -answer};
}

}  // namespace pa
