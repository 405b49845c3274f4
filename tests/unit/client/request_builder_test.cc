#include "clients/cpp/request_builder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shared/io/request_json.h"

namespace pa {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Request built(const RequestOverrides& overrides, std::string_view base = "",
              std::int64_t rows = 0) {
  const auto json = build_request(Operation::kSample, base, overrides, rows);
  EXPECT_TRUE(json.ok()) << json.error().field << json.error().message;
  return json.ok() ? *parse_request(*json) : Request{};
}

Error error_of(const RequestOverrides& overrides, std::string_view base = "") {
  const auto json = build_request(Operation::kSample, base, overrides, 0);
  EXPECT_FALSE(json.ok());
  return json.ok() ? Error{} : json.error();
}

TEST(Labels, ExpandRangesListsAndNames) {
  EXPECT_THAT(*expand_labels("0-3"), ElementsAre("0", "1", "2", "3"));
  EXPECT_THAT(*expand_labels("3-1, 7"), ElementsAre("3", "2", "1", "7"));
  EXPECT_THAT(*expand_labels("cat,dog"), ElementsAre("cat", "dog"));
  EXPECT_THAT(*expand_labels("a-b"), ElementsAre("a-b"));
  EXPECT_THAT(*expand_labels("-1"), ElementsAre("-1"));
  EXPECT_THAT(*expand_labels("4-4"), ElementsAre("4"));
}

TEST(Labels, AreRefusedIfEmptyOrTooMany) {
  EXPECT_EQ(expand_labels("").error().field, "/labels");
  EXPECT_FALSE(expand_labels("1,,2").ok());
  EXPECT_FALSE(expand_labels("0-4294967295").ok());
  EXPECT_FALSE(expand_labels("4294967295-0").ok());
}

TEST(BuildRequest, TheQuickstartsCommandLine) {
  RequestOverrides overrides;
  overrides.model = "digits";
  overrides.labels = "0-9";
  overrides.count = 21;
  overrides.steps = 20;
  const Request request = built(overrides);
  EXPECT_EQ(request.samples, 21);
  ASSERT_EQ(request.labels.size(), 21U);
  EXPECT_EQ(request.labels[9], "9");
  EXPECT_EQ(request.labels[10], "0");
  EXPECT_EQ(request.labels[20], "0");
  EXPECT_EQ(request.schedule->steps, 20);
}

TEST(BuildRequest, LabelsTellHowManySamples) {
  RequestOverrides overrides;
  overrides.model = "digits";
  overrides.labels = "3,4";
  EXPECT_EQ(built(overrides).samples, 2);
}

TEST(BuildRequest, OverridesWhatTheFileSays) {
  RequestOverrides overrides;
  overrides.count = 4;
  overrides.cfg = 2.5;
  overrides.seed = 18446744073709551615U;
  overrides.size = "640x480";
  overrides.sampler = "heun";
  overrides.set = {{"sampler.options.eta", "0.5"},
                   {"tag", "free text"},
                   {"positive.0.strength", "0.25"},
                   {"deterministic", "true"}};
  const Request request =
      built(overrides, R"({"model": "m", "samples": 2, "latent_shape": [4, 8, 8],
      "schedule": {"steps": 7}, "positive": [{"tensors": "cond.0"}]})");
  EXPECT_EQ(request.samples, 4);
  EXPECT_EQ(request.guidance.cfg, 2.5);
  EXPECT_EQ(request.seed, 18446744073709551615U);
  EXPECT_THAT(request.size, ElementsAre(640, 480));
  EXPECT_TRUE(request.latent_shape.empty());
  EXPECT_EQ(request.sampler.name, "heun");
  EXPECT_EQ(std::get<double>(request.sampler.options.at("eta")), 0.5);
  EXPECT_EQ(request.schedule->steps, 7);
  EXPECT_EQ(request.tag, "free text");
  EXPECT_EQ(request.positive[0].strength, 0.25);
  EXPECT_TRUE(request.deterministic);
}

TEST(BuildRequest, StepsReplaceSigmas) {
  RequestOverrides overrides;
  overrides.steps = 5;
  const Request request = built(overrides, R"({"model": "m", "sigmas": [1, 0]})");
  EXPECT_TRUE(request.sigmas.empty());
  EXPECT_EQ(request.schedule->steps, 5);
}

TEST(BuildRequest, RowsOfATensorTellHowManySamples) {
  EXPECT_EQ(built({}, R"({"model": "m", "schedule": {}})", 5).samples, 5);
  EXPECT_EQ(built({}, R"({"model": "m", "schedule": {}, "samples": 2})", 5).samples, 2);
  const auto forward =
      build_request(Operation::kForward, R"({"op": "forward", "model": "m"})", {}, 3);
  EXPECT_EQ(*forward, R"({"op":"forward","model":"m","samples":3})");
}

TEST(BuildRequest, SaysWhatIsWrong) {
  RequestOverrides misspelt;
  misspelt.model = "m";
  misspelt.set = {{"schedul.steps", "4"}};
  EXPECT_THAT(error_of(misspelt).message, HasSubstr("did you mean 'schedule'?"));
  RequestOverrides size;
  size.model = "m";
  size.size = "64";
  EXPECT_EQ(error_of(size).message,
            "expected WIDTHxHEIGHT in pixels, such as 1024x768, found '64'");
  RequestOverrides inside;
  inside.model = "m";
  inside.set = {{"model.name", "x"}};
  EXPECT_THAT(error_of(inside).message, HasSubstr("there is nothing inside of"));
  RequestOverrides beyond;
  beyond.set = {{"positive.3.strength", "1"}};
  EXPECT_THAT(error_of(beyond, R"({"model": "m", "schedule": {}, "positive": []})").message,
              HasSubstr("a place in a list of 0"));
  EXPECT_EQ(error_of({}).field, "/model");
  EXPECT_THAT(error_of({}, "{").message, HasSubstr("not JSON"));
  EXPECT_THAT(error_of({}, R"({"op": "forward", "model": "m"})").message,
              HasSubstr("use pa forward"));
  RequestOverrides empty;
  empty.set = {{"a..b", "1"}};
  EXPECT_THAT(error_of(empty).message, HasSubstr("is empty"));
}

}  // namespace
}  // namespace pa
