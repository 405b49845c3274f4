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
}

}  // namespace
}  // namespace pa
