#include "shared/sampling/samplers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/support/fixture.h"

namespace pa {
namespace {

using ::testing::HasSubstr;
using Values = std::vector<float>;

Prediction flow() {
  return {true, [](double percent) { return 1.0 - percent; }};
}

TEST(Samplers, EveryNameHasAFixture) {
  const std::vector<std::string> files = test::fixtures_in("samplers");
  for (std::string name : sampler_names()) {
    if (name.ends_with("_gpu")) name.resize(name.size() - 4);  // The same program.
    const bool covered = std::any_of(files.begin(), files.end(), [&](const std::string& file) {
      return file.ends_with("__" + name + ".safetensors");
    });
    EXPECT_TRUE(covered) << name;
  }
}

TEST(Samplers, RefusesAnUnknownNameWithTheNearestAndTheList) {
  const Result<Program> program = compile({"dpmp_2m", {}}, Values{1.0F, 0.0F}, flow());
  ASSERT_FALSE(program.ok());
  EXPECT_EQ(program.error().code, Code::kInvalid);
  EXPECT_EQ(program.error().field, "/sampler/name");
  EXPECT_THAT(program.error().message, HasSubstr("did you mean 'dpmpp_2m'?"));
  EXPECT_THAT(program.error().message, HasSubstr("euler, euler_cfg_pp, euler_ancestral"));
}

TEST(Samplers, RefusesOptionsByName) {
  const Values sigmas{1.0F, 0.5F, 0.0F};
  const auto error_of = [&](const std::string& sampler, const std::string& option,
                            const OptionValue& value) {
    const Result<Program> program = compile({sampler, {{option, value}}}, sigmas, flow());
    return program.ok() ? Error{Code::kInternal, "no error", ""} : program.error();
  };
  const Error unknown = error_of("euler", "s_churm", 1.0);
  EXPECT_EQ(unknown.field, "/sampler/options/s_churm");
  EXPECT_THAT(unknown.message, HasSubstr("did you mean 's_churn'?"));
  EXPECT_THAT(error_of("dpmpp_2m", "eta", 1.0).message, HasSubstr("there are none"));
  const Error wrong_type = error_of("ipndm", "max_order", std::string("4"));
  EXPECT_EQ(wrong_type.field, "/sampler/options/max_order");
  EXPECT_EQ(wrong_type.message, "expected a number, found a string");
  EXPECT_EQ(error_of("ipndm", "max_order", 2.5).message,
            "expected a whole number from 1 to 4, found 2.5");
  EXPECT_EQ(error_of("ipndm", "max_order", 5.0).field, "/sampler/options/max_order");
}

TEST(Samplers, RefusesChoicesAndFlags) {
  const Values sigmas{1.0F, 0.5F, 0.0F};
  const auto message_of = [&](const std::string& sampler, const std::string& option,
                              const OptionValue& value) {
    const Result<Program> program = compile({sampler, {{option, value}}}, sigmas, flow());
    return program.ok() ? std::string("no error") : program.error().message;
  };
  EXPECT_EQ(message_of("dpmpp_2m_sde", "solver_type", std::string("huen")),
            "expected 'midpoint' or 'heun', found 'huen'");
  EXPECT_EQ(message_of("deis", "deis_mode", std::string("rhoab")), "expected 'tab', found 'rhoab'");
  EXPECT_EQ(message_of("sa_solver", "use_pece", 1.0), "expected a boolean, found a number");
  EXPECT_THAT(message_of("sa_solver_pece", "use_pece", true), HasSubstr("has no option"));
  EXPECT_THAT(message_of("lcm", "noise_clip_std", 2.0), HasSubstr("has no option"));
}

TEST(Samplers, RefusesTheOneThatCouplesRowsWithTheReason) {
  const Result<Program> program = compile({"dpm_adaptive", {}}, Values{1.0F, 0.0F}, flow());
  ASSERT_FALSE(program.ok());
  EXPECT_EQ(program.error().field, "/sampler/name");
  EXPECT_THAT(program.error().message, HasSubstr("the error over the whole batch"));
  const std::vector<std::string>& names = sampler_names();
  EXPECT_EQ(std::find(names.begin(), names.end(), "dpm_adaptive"), names.end());
}

TEST(Samplers, NamesOfGpuNoiseAreTheSamePrograms) {
  const Values sigmas{0.9F, 0.6F, 0.2F, 0.0F};
  for (const char* name : {"dpmpp_sde", "dpmpp_2m_sde", "dpmpp_2m_sde_heun", "dpmpp_3m_sde"}) {
    EXPECT_EQ(compile({std::string(name) + "_gpu", {}}, sigmas, flow()).value(),
              compile({name, {}}, sigmas, flow()).value());
  }
}

TEST(Samplers, SayWhereTheReferenceDrawsTheirNoise) {
  const Values sigmas{0.9F, 0.6F, 0.2F, 0.0F};
  EXPECT_EQ(compile({"euler_ancestral", {}}, sigmas, flow())->noise_origin, NoiseOrigin::kSampler);
  EXPECT_EQ(compile({"euler", {}}, sigmas, flow())->noise_origin, NoiseOrigin::kStart);
  const Program tree = compile({"dpmpp_2m_sde", {}}, sigmas, flow()).value();
  EXPECT_EQ(tree.noise_origin, NoiseOrigin::kBrownian);
  EXPECT_EQ(tree.sigma_min, double{0.2F});
  EXPECT_EQ(tree.sigma_max, double{0.9F});
}

TEST(Samplers, RefusesSigmasThatASamplerCannotStepOver) {
  const Result<Program> program =
      compile({"dpmpp_2s_ancestral", {{"eta", 100.0}}}, Values{0.9F, 0.1F, 0.0F}, flow());
  ASSERT_FALSE(program.ok());
  EXPECT_EQ(program.error().field, "/sigmas");
  EXPECT_THAT(program.error().message, HasSubstr("not finite"));
}

TEST(Samplers, RefusesSigmasThatDoNotFall) {
  const auto field_of = [](const Values& sigmas) {
    const Result<Program> program = compile({"euler", {}}, sigmas, flow());
    return program.ok() ? std::string("no error") : program.error().field;
  };
  EXPECT_EQ(field_of({1.0F}), "/sigmas");
  EXPECT_EQ(field_of({1.0F, 0.5F, 0.5F}), "/sigmas/2");
  EXPECT_EQ(field_of({1.0F, 0.5F, -0.1F}), "/sigmas/2");
  EXPECT_EQ(field_of({INFINITY, 0.0F}), "/sigmas/0");
  EXPECT_EQ(field_of({1.0F, NAN, 0.0F}), "/sigmas/1");
}

TEST(Samplers, ChurnAsksForNoiseBeforeTheStepItRaises) {
  const Program program =
      compile({"euler", {{"s_churn", 1.0}}}, Values{1.0F, 0.5F, 0.0F}, flow()).value();
  ASSERT_EQ(draws_of(program), 2);
  const Stage& before = program.stages.front();
  EXPECT_EQ(before.input, -1);
  ASSERT_EQ(before.draws.size(), 1U);
  EXPECT_DOUBLE_EQ(before.draws[0].from, 1.0);
  EXPECT_NEAR(before.draws[0].to, std::sqrt(2.0), 1e-12);
  EXPECT_EQ(steps_of(program), 2);
  EXPECT_EQ(evaluations_of(program), 2);
}

TEST(Samplers, EulerNeedsTwoSlotsAndHeunFour) {
  const Values sigmas{1.0F, 0.75F, 0.5F, 0.0F};
  EXPECT_EQ(compile({"euler", {}}, sigmas, flow())->slots, 2);
  const Program heun = compile({"heun", {}}, sigmas, flow()).value();
  EXPECT_EQ(heun.slots, 4);
  EXPECT_EQ(steps_of(heun), 3);
  EXPECT_EQ(evaluations_of(heun), 5);
}

}  // namespace
}  // namespace pa
