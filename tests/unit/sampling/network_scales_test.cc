#include "shared/sampling/network_scales.h"

#include <gtest/gtest.h>

#include <cmath>

namespace pa {
namespace {

/// x = data + sigma * noise, or (1 - sigma) * data + sigma * noise: whatever a perfect network
/// answers, the data must come back.
TEST(NetworkScales, GiveTheDataBack) {
  const double data = 0.3;
  const double noise = -1.7;
  for (const float sigma : {0.1F, 0.9F, 5.0F}) {
    const double s = sigma;
    const auto denoised = [&](const char* prediction, double x, double answer) {
      const NetworkScales scales = network_scales({.prediction = prediction}, sigma);
      return scales.x_weight * x + scales.answer_weight * answer;
    };
    EXPECT_NEAR(denoised("flow", (1 - s) * data + s * noise, noise - data), data, 1e-5);
    const double x = data + s * noise;
    EXPECT_NEAR(denoised("eps", x, noise), data, 1e-5);
    const double scale = 1.0 / std::sqrt(s * s + 1.0);
    EXPECT_NEAR(denoised("v", x, scale * noise - s * scale * data), data, 1e-5);
    const double edm = std::sqrt(s * s + 0.25);
    EXPECT_NEAR(denoised("edm", x, (data - 0.25 / (edm * edm) * x) * edm / (s * 0.5)), data, 1e-5);
  }
  EXPECT_FLOAT_EQ(network_scales({.prediction = "flow"}, 0.5F).input, 1.0F);
  EXPECT_FLOAT_EQ(network_scales({.prediction = "eps"}, 2.0F).input, 1.0F / std::sqrt(5.0F));
  EXPECT_FLOAT_EQ(network_scales({.prediction = "edm"}, 2.0F).input, 1.0F / std::sqrt(4.25F));
}

/// Data of deviation d: what a network of preconditioned "edm" (arXiv 2206.00364, table 1) or "v"
/// answers to it means the data again.
TEST(NetworkScales, HeedTheDeviationOfTheData) {
  const double data = 0.3;
  const double d = 0.7;
  for (const float sigma : {0.002F, 1.0F, 80.0F}) {
    const double s = sigma;
    const double total = std::sqrt(s * s + d * d);
    const double x = data - s * 1.7;
    const double skip = d * d / (total * total);
    const double answer = (data - skip * x) * total / (s * d);
    for (const auto& [prediction, sign] : {std::pair{"edm", 1.0}, std::pair{"v", -1.0}}) {
      const NetworkScales scales =
          network_scales({.prediction = prediction, .sigma_data = d}, sigma);
      EXPECT_NEAR(scales.input, 1.0 / total, 1e-6);
      EXPECT_NEAR(scales.x_weight * x + scales.answer_weight * sign * answer, data, 2e-5);
    }
    EXPECT_FLOAT_EQ(network_scales({.prediction = "eps", .sigma_data = d}, sigma).answer_weight,
                    -sigma);
  }
}

}  // namespace
}  // namespace pa
