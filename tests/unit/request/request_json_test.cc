#include "shared/io/request_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pa {
namespace {

using ::testing::HasSubstr;

Error error_of(std::string_view json) {
  const Result<Request> request = parse_request(json);
  EXPECT_FALSE(request.ok()) << json;
  return request.ok() ? Error{} : request.error();
}

TEST(RequestJson, FillsInDefaults) {
  const auto request = parse_request(R"({"model": "digits", "schedule": {}})");
  ASSERT_TRUE(request.ok()) << request.error().message;
  EXPECT_EQ(request->op, Operation::kSample);
  EXPECT_EQ(request->samples, 1);
  EXPECT_EQ(request->sampler.name, "euler");
  EXPECT_EQ(request->schedule->name, "simple");
  EXPECT_EQ(request->schedule->steps, 20);
  EXPECT_EQ(request->noise, NoiseKind::kComfy);
  EXPECT_TRUE(request->add_noise);
  EXPECT_FALSE(request->sampler_seed.has_value());
}

TEST(RequestJson, AnUnknownFieldNamesTheNearest) {
  const Error error = error_of(R"({"model": "m", "schedule": {"stepz": 4}})");
  EXPECT_EQ(error.code, Code::kInvalid);
  EXPECT_EQ(error.field, "/schedule/stepz");
  EXPECT_EQ(error.message, "unknown field 'stepz'; did you mean 'steps'?");
}

TEST(RequestJson, SaysWhereWhatWasExpectedAndWhatWasFound) {
  EXPECT_EQ(error_of(R"({"model": "m", "schedule": {}, "samples": "4"})").message,
            "expected an integer from 1 to 65536, found the text '4'");
  EXPECT_EQ(error_of(R"({"model": "m", "schedule": {"denoise": 0}})").message,
            "expected a number above 0, up to 1, found 0");
  EXPECT_EQ(error_of(R"({"model": "m", "schedule": {}, "latent_shape": [1, 2]})").message,
            "expected a list of 3 integers, found a list of 2");
  EXPECT_EQ(error_of(R"({"model": "m", "schedule": {}, "noise": "white"})").message,
            "expected one of 'comfy', 'keyed', 'given', found the text 'white'");
  EXPECT_EQ(error_of(R"({"model": "m", "positive": [{"tensors": "c", "end": true}]})").field,
            "/positive/0/end");
  EXPECT_EQ(error_of(R"({"schedule": {}})").field, "/model");
}

TEST(RequestJson, EscapesPointers) {
  EXPECT_EQ(
      error_of(R"({"model": "m", "schedule": {}, "sampler": {"options": {"a/b~c": []}}})").field,
      "/sampler/options/a~1b~0c");
}

TEST(RequestJson, WantsExactlyOneSchedule) {
  EXPECT_THAT(error_of(R"({"model": "m"})").message, HasSubstr("found neither"));
  EXPECT_THAT(error_of(R"({"model": "m", "schedule": {}, "sigmas": [1, 0]})").message,
              HasSubstr("found both"));
}

TEST(RequestJson, ForwardHasNoSchedule) {
  EXPECT_TRUE(parse_request(R"({"op": "forward", "model": "m", "samples": 2})").ok());
  EXPECT_EQ(error_of(R"({"op": "forward", "model": "m", "schedule": {}})").field, "/schedule");
}

TEST(RequestJson, WantsOneLabelASample) {
  EXPECT_TRUE(
      parse_request(R"({"model": "m", "schedule": {}, "samples": 2, "labels": ["0", "1"]})").ok());
  EXPECT_EQ(
      error_of(R"({"model": "m", "schedule": {}, "samples": 3, "labels": ["0", "1"]})").message,
      "expected one label a sample, 3, found 2");
}

TEST(RequestJson, SigmasDescend) {
  const Error error = error_of(R"({"model": "m", "sigmas": [1, 0.5, 0.75]})");
  EXPECT_EQ(error.field, "/sigmas/2");
  EXPECT_EQ(error.message, "expected at most 0.5, since sigmas descend, found 0.75");
}

TEST(RequestJson, RefusesWhatIsNoJson) {
  EXPECT_THAT(error_of("").message, HasSubstr("not JSON: parse error at line 1"));
  EXPECT_THAT(error_of(R"({"model": "m",})").message, HasSubstr("line 1, column 15"));
  EXPECT_THAT(error_of(R"({"model": 1e999})").message, HasSubstr("not JSON"));
  EXPECT_THAT(error_of("{\"model\": \"\xff\"}").message, HasSubstr("not JSON"));
  EXPECT_THAT(error_of("[]").message, HasSubstr("expected an object, found an empty list"));
  EXPECT_THAT(error_of(R"({"model": "m", "seed": 1, "seed": 2})").message,
              HasSubstr("'seed' is given twice"));
}

TEST(RequestJson, DeepNestingIsAnErrorAndNoCrash) {
  EXPECT_FALSE(parse_request(std::string(200000, '[')).ok());
  std::string closed = R"({"model": )" + std::string(200000, '[') + std::string(200000, ']') + "}";
  EXPECT_FALSE(parse_request(closed).ok());
}

TEST(RequestJson, WritesOnlyWhatIsNotDefault) {
  Request request;
  request.model = "digits";
  request.samples = 3;
  request.schedule = ScheduleSpec{.steps = 4};
  EXPECT_EQ(to_json(request), R"({"op":"sample","model":"digits","samples":3,)"
                              R"("schedule":{"name":"simple","steps":4,"denoise":1.0}})");
}

TEST(RequestJson, SigmasComeBackExactlyAndShort) {
  Request request;
  request.model = "m";
  request.sigmas = {14.6146F, 0.1F, 1e-6F, 0.0F};
  const std::string json = to_json(request);
  EXPECT_THAT(json, HasSubstr("[14.6146,0.1,1e-06,0.0]"));
  const auto again = parse_request(json);
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_EQ(again->sigmas, request.sigmas);
}

TEST(RequestJson, SeedsUseAll64Bits) {
  const auto request =
      parse_request(R"({"model": "m", "schedule": {}, "seed": 18446744073709551615})");
  ASSERT_TRUE(request.ok());
  EXPECT_EQ(request->seed, 18446744073709551615U);
  EXPECT_FALSE(
      parse_request(R"({"model": "m", "schedule": {}, "seed": 18446744073709551616})").ok());
}

}  // namespace
}  // namespace pa
