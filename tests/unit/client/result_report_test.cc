#include "clients/cpp/result_report.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace pa {
namespace {

ResultReport two_workers() {
  ResultReport report;
  report.id = {1, 2};
  report.request = R"({"model":"digits","samples":3})";
  Done& done = report.outcome.done;
  done.seconds = 1.5;
  for (std::int64_t i = 0; i < 3; ++i) {
    SampleReport sample;
    sample.sample = i;
    sample.worker = i < 2 ? "b" : "a";
    sample.device = i < 2 ? "cuda:0" : "a";
    sample.attempts = 1;
    sample.steps = 20;
    done.samples.push_back(sample);
  }
  report.devices = {{"b", "cuda:0", 2, 2, 40, 0.25}};
  return report;
}

TEST(ResultReport, TellsWhoMadeHowManyAtWhatRate) {
  EXPECT_EQ(result_line(two_workers()),
            "done: 3 samples in 1.50 s; a 1 at 0.667 samples/s, b (cuda:0) 2 at 8.00 samples/s");
}

TEST(ResultReport, RatesHaveThreeDigitsOrSo) {
  EXPECT_EQ(rate_text(0.6666), "0.667");
  EXPECT_EQ(rate_text(9.123), "9.12");
  EXPECT_EQ(rate_text(9.999), "10.0");
  EXPECT_EQ(rate_text(346.2), "346");
  EXPECT_EQ(rate_text(9999.9), "10k");
  EXPECT_EQ(rate_text(193000), "193k");
}

TEST(ResultReport, CountsOnlyWhatWasMade) {
  ResultReport report = two_workers();
  report.outcome.done.samples[2].failed = true;
  report.outcome.done.samples[2].error = invalid("not a number");
  EXPECT_EQ(result_line(report), "done: 2 samples in 1.50 s; b (cuda:0) 2 at 8.00 samples/s");
  const auto json = nlohmann::json::parse(result_json(report));
  EXPECT_EQ(json["samples"][2]["error"]["message"], "not a number");
  EXPECT_EQ(json["samples"][2]["error"]["code"], "invalid");
  EXPECT_FALSE(json["samples"][0].contains("error"));
}

TEST(ResultReport, IsJsonWithTheRequestInIt) {
  const auto json = nlohmann::json::parse(result_json(two_workers()));
  EXPECT_EQ(json["id"], "00000000000000010000000000000002");
  EXPECT_EQ(json["request"]["model"], "digits");
  EXPECT_EQ(json["steps"], 60);
  EXPECT_EQ(json["devices"].size(), 2U);
  EXPECT_EQ(json["devices"][1]["seconds"], 0.25);
  EXPECT_EQ(json["samples"].size(), 3U);
}

}  // namespace
}  // namespace pa
