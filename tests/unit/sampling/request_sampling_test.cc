#include "shared/sampling/request_sampling.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pa {
namespace {

using ::testing::ElementsAre;

const SamplingInfo kFlow{"flow", "flow", 1.0, 1.0};
const SamplingInfo kFlux{"flow", "flux", 1.15, 1.0};

Request four_steps() {
  Request request;
  request.schedule = ScheduleSpec{"simple", 4, 1.0};
  return request;
}

TEST(RequestSampling, CompilesTheSchedule) {
  const Program program = program_of(four_steps(), kFlow).value();
  EXPECT_EQ(steps_of(program), 4);
  EXPECT_EQ(program.end_sigma, 0.0);
}

TEST(RequestSampling, TakesSigmasAsTheyAre) {
  Request request;
  request.sigmas = {0.9F, 0.3F, 0.0F};
  EXPECT_THAT(sigmas_of(request, kFlow).value(), ElementsAre(0.9F, 0.3F, 0.0F));
}

TEST(RequestSampling, EndsAtZeroUnlessNoiseMayBeLeft) {
  Request request;
  request.sigmas = {0.9F, 0.3F};
  EXPECT_THAT(sigmas_of(request, kFlow).value(), ElementsAre(0.9F, 0.0F));
  request.leftover_noise = true;
  EXPECT_THAT(sigmas_of(request, kFlow).value(), ElementsAre(0.9F, 0.3F));
}

TEST(RequestSampling, WantsExactlyOneOfScheduleAndSigmas) {
  Request request;
  EXPECT_EQ(sigmas_of(request, kFlow).error().field, "/schedule");
  request = four_steps();
  request.sigmas = {1.0F, 0.0F};
  EXPECT_EQ(sigmas_of(request, kFlow).error().field, "/sigmas");
}

TEST(RequestSampling, OverridesTheModelsShift) {
  Request request = four_steps();
  request.model_sampling.shift = 0.5;
  const std::vector<float> sigmas = sigmas_of(request, kFlux).value();
  EXPECT_NEAR(sigmas[2], std::exp(0.5) / (std::exp(0.5) + 1.0), 1e-6);
}

TEST(RequestSampling, APredictionOfTheOtherKindTakesItsTableAlong) {
  Request request = four_steps();
  request.model_sampling.prediction = "v";
  EXPECT_EQ(sampling_of(request, kFlux)->type, "discrete");
  EXPECT_NEAR(sigmas_of(request, kFlux)->front(), 14.6146, 1e-3);
  request.model_sampling.shift = 2.0;
  EXPECT_EQ(sampling_of(request, kFlux).error().field, "/model_sampling/shift");
}

TEST(RequestSampling, DropsThePenultimateSigmaForDpm2) {
  Request request = four_steps();
  request.sampler.name = "dpm_2";
  EXPECT_THAT(sigmas_of(request, kFlow).value(), ElementsAre(1.0F, 0.8F, 0.6F, 0.4F, 0.0F));
}

TEST(RequestSampling, BrownianPathsEndWhereTheScheduleDoes) {
  Request request = four_steps();
  request.sampler.name = "dpmpp_2m_sde";
  const Program program = program_of(request, kFlow).value();
  EXPECT_EQ(draws_of(program), 3);
  EXPECT_EQ(program.noise_origin, NoiseOrigin::kBrownian);
  EXPECT_EQ(program.sigma_max, 1.0);
  EXPECT_EQ(program.sigma_min, 0.25);
}

}  // namespace
}  // namespace pa
