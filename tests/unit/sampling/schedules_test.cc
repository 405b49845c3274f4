#include "shared/sampling/schedules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/fixture.h"

namespace pa {
namespace {

using ::testing::HasSubstr;

SamplingInfo sampling_info(const nlohmann::json& params) {
  const std::string type = params["type"];
  SamplingInfo info;
  info.prediction = type == "EPS" ? "eps" : "flow";
  info.type = type == "EPS" ? "discrete" : type == "FLUX" ? "flux" : "flow";
  info.shift = params["settings"].value("shift", 1.0);
  info.multiplier = params["settings"].value("multiplier", 1.0);
  return info;
}

class SchedulesOf : public ::testing::TestWithParam<std::string> {
 protected:
  nlohmann::json file_ = test::json_fixture("schedulers/" + GetParam());
  SigmaTable table_ = SigmaTable::make(sampling_info(file_["params"])).value();
  double tolerance_ = file_["rtol"];
};

TEST_P(SchedulesOf, HaveTheReferencesTable) {
  const nlohmann::json& want = file_["table"];
  ASSERT_EQ(table_.sigmas().size(), want["length"].get<std::size_t>());
  for (std::size_t i = 0; i < want["index"].size(); ++i) {
    const double sigma = want["sigma"][i];
    EXPECT_NEAR(table_.sigmas()[want["index"][i].get<std::size_t>()], sigma, tolerance_ * sigma);
  }
  for (const auto& pair : file_["timestep_of_sigma"]) {
    const double t = pair[1];
    EXPECT_NEAR(table_.timestep_of(pair[0].get<float>()), t, tolerance_ * t);
  }
  for (const auto& pair : file_["percent_to_sigma"]) {
    const double sigma = pair[1];
    EXPECT_NEAR(table_.percent_to_sigma(pair[0]), sigma, tolerance_ * sigma);
  }
}

TEST_P(SchedulesOf, EqualTheReferences) {
  int compared = 0;
  for (const auto& want : file_["schedules"]) {
    const ScheduleSpec spec{want["scheduler"], want["steps"], want["denoise"]};
    SCOPED_TRACE(want["scheduler"].get<std::string>() + " " + std::to_string(spec.steps) + " " +
                 std::to_string(spec.denoise));
    const Result<std::vector<float>> got =
        schedule(spec, table_, want["discard_penultimate"].get<bool>());
    if (want["sigmas"][0].is_null()) {  // Not a number there.
      ASSERT_FALSE(got.ok());
      EXPECT_EQ(got.error().field, "/schedule/steps");
      continue;
    }
    ASSERT_TRUE(got.ok()) << got.error().message;
    ASSERT_EQ(got->size(), want["sigmas"].size());
    for (std::size_t i = 0; i < got->size(); ++i) {
      const double sigma = want["sigmas"][i];
      EXPECT_NEAR((*got)[i], sigma, tolerance_ * sigma) << i;
    }
    ++compared;
  }
  EXPECT_GT(compared, 60);
}

INSTANTIATE_TEST_SUITE_P(Fixtures, SchedulesOf,
                         ::testing::ValuesIn(test::fixtures_in("schedulers")),
                         [](const auto& test) {
                           return test.param.substr(0, test.param.find('.'));
                         });

TEST(Schedules, SimpleOnAFlowIsBitForBitTheTable) {
  const SigmaTable table = SigmaTable::make({"flow", "flow", 1.0, 1.0}).value();
  const std::vector<float> sigmas = schedule({"simple", 4, 1.0}, table, false).value();
  EXPECT_EQ(sigmas, (std::vector<float>{1.0F, 0.75F, 0.5F, 0.25F, 0.0F}));
}

/// Sigmas within the 2e-6 relative that the fixtures keep; numbers of torch in float32.
void expect_schedule(const SigmaTable& table, const char* name, const std::vector<double>& want) {
  const std::vector<float> got = schedule({name, 4, 1.0}, table, false).value();
  ASSERT_EQ(got.size(), want.size() + 1) << name;
  for (std::size_t i = 0; i < want.size(); ++i) {
    EXPECT_NEAR(got[i], want[i], 2e-6 * want[i]) << name << " " << i;
  }
  EXPECT_EQ(got.back(), 0.0F);
}

TEST(Schedules, OfContinuousSigmas) {
  const SigmaTable table =
      SigmaTable::make({.prediction = "edm", .type = "continuous", .sigma_max = 80.0}).value();
  ASSERT_EQ(table.sigmas().size(), 1000U);
  EXPECT_FLOAT_EQ(table.sigma_min(), 0.002F);
  EXPECT_FLOAT_EQ(table.sigmas()[250], 0.028359370F);
  EXPECT_FLOAT_EQ(table.sigma_max(), 80.0F);
  expect_schedule(table, "simple", {80.0, 5.64187384, 0.397884071, 0.0280601457});
  expect_schedule(table, "sgm_uniform", {80.0, 5.65685415, 0.399999976, 0.0282842703});
  expect_schedule(table, "normal", {80.0, 2.33921432, 0.068399027, 0.00199999986});
  expect_schedule(table, "karras", {79.9999847, 9.7232008, 0.469979256, 0.00199999963});
  expect_schedule(table, "ddim_uniform", {5.76284218, 0.406415343, 0.0286617856, 0.00202132715});
}

TEST(SigmaTable, TellsTimesOfContinuousSigmas) {
  const SigmaTable table =
      SigmaTable::make({.prediction = "v", .type = "continuous", .sigma_max = 80.0}).value();
  for (const float sigma : {80.0F, 1.0F, 0.002F, 500.0F}) {  // Also beyond the table.
    EXPECT_FLOAT_EQ(table.timestep_of(sigma), 0.25F * std::log(sigma));
    EXPECT_NEAR(table.sigma_of(table.timestep_of(sigma)), sigma, 2e-6 * sigma);
  }
  EXPECT_GT(table.percent_to_sigma(0.0), 1e8);
  EXPECT_NEAR(table.percent_to_sigma(0.25), 5.65685425, 1e-7);
  EXPECT_NEAR(table.percent_to_sigma(0.9), 0.00577079962, 1e-9);
  EXPECT_EQ(table.percent_to_sigma(1.0), 0.0);
}

TEST(SigmaTable, LeavesNothingOfTheDataAtZeroTerminalSnr) {
  const SigmaTable table =
      SigmaTable::make({.prediction = "v", .type = "discrete", .zero_terminal_snr = true}).value();
  EXPECT_NEAR(table.sigma_max(), 4518.76, 0.005);
  EXPECT_FLOAT_EQ(table.sigmas()[0], 0.0291671585F);
  EXPECT_FLOAT_EQ(table.sigmas()[500], 1.77455747F);
  EXPECT_FLOAT_EQ(table.sigmas()[998], 2254.23804F);
  expect_schedule(table, "simple", {4518.76367, 5.39873838, 1.76808023, 0.727055848});
}

TEST(Schedules, RefuseWhatTheyCannotDo) {
  const SigmaTable table = SigmaTable::make({"flow", "flow", 1.0, 1.0}).value();
  const auto error_of = [&](const ScheduleSpec& spec) {
    const Result<std::vector<float>> sigmas = schedule(spec, table, false);
    return sigmas.ok() ? Error{Code::kInternal, "no error", ""} : sigmas.error();
  };
  EXPECT_EQ(error_of({"kerras", 4, 1.0}).field, "/schedule/name");
  EXPECT_THAT(error_of({"kerras", 4, 1.0}).message, HasSubstr("did you mean 'karras'?"));
  EXPECT_EQ(error_of({"simple", 0, 1.0}).field, "/schedule/steps");
  EXPECT_EQ(error_of({"simple", 10001, 1.0}).field, "/schedule/steps");
  EXPECT_EQ(error_of({"simple", 1001, 1.0}).field, "/schedule/steps");  // Doubles in the table.
  EXPECT_EQ(error_of({"simple", 4, 0.0}).field, "/schedule/denoise");
  EXPECT_EQ(error_of({"simple", 4, 1.5}).field, "/schedule/denoise");
  EXPECT_EQ(error_of({"simple", 4, NAN}).field, "/schedule/denoise");
  EXPECT_EQ(error_of({"simple", 100, 1e-9}).field, "/schedule/denoise");
}

TEST(SigmaTable, RefusesWhatDoesNotGoTogether) {
  EXPECT_EQ(SigmaTable::make({"eps", "flow", 1.0, 1.0}).error().field,
            "/model_sampling/prediction");
  EXPECT_EQ(SigmaTable::make({"flow", "flow", 0.0, 1.0}).error().field, "/model_sampling");
  EXPECT_EQ(SigmaTable::make({"flow", "cosine", 1.0, 1.0}).error().field, "/model_sampling");
  EXPECT_EQ(SigmaTable::make({.prediction = "flow", .type = "continuous"}).error().field,
            "/model_sampling/prediction");
  EXPECT_FALSE(SigmaTable::make({.prediction = "v", .type = "continuous", .sigma_min = 0}).ok());
  EXPECT_FALSE(SigmaTable::make({.prediction = "v", .type = "continuous", .sigma_max = NAN}).ok());
  EXPECT_FALSE(SigmaTable::make({.prediction = "v", .type = "discrete", .sigma_data = -1}).ok());
}

}  // namespace
}  // namespace pa
