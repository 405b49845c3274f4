#include "coordinator/core/load_times.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pa {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

ModelInfo model(const std::string& name, std::int64_t parameters = 1'000'000'000) {
  ModelInfo info;
  info.name = name;
  info.parameters = parameters;
  return info;
}

class LoadTimesTest : public ::testing::Test {
 protected:
  void told(const std::string& worker, const std::vector<LoadedModel>& loaded) {
    times_.told(worker, loaded);
  }
  [[nodiscard]] double seconds(const std::string& worker, const std::string& name,
                               const std::string& loras = "") const {
    return times_.seconds(worker, model(name), loras);
  }

  LoadTimes times_;
};

TEST_F(LoadTimesTest, WhoNeverToldIsTakenAtItsBest) { EXPECT_EQ(seconds("a", "flux"), 0); }

TEST_F(LoadTimesTest, WhatIsThereTakesNothing) {
  told("a", {{"flux", "x", 8, 2}});
  EXPECT_EQ(seconds("a", "flux", "x"), 0);
  EXPECT_THAT(times_.loaded("a"), ElementsAre("flux"));
  EXPECT_THAT(times_.loaded("b"), IsEmpty());
}

TEST_F(LoadTimesTest, WhatWasPutOutTakesWhatItTookBefore) {
  told("a", {{"flux", "", 8, 0}});
  told("a", {{"sdxl", "", 3, 0}});
  EXPECT_EQ(seconds("a", "flux"), 8);
  EXPECT_EQ(seconds("a", "sdxl"), 0);
  EXPECT_THAT(times_.loaded("a"), ElementsAre("sdxl"));
}

TEST_F(LoadTimesTest, OtherLorasTakeTheirChange) {
  told("a", {{"flux", "x", 8, 2}});
  EXPECT_EQ(seconds("a", "flux", "y"), 2);
  EXPECT_EQ(seconds("a", "flux"), 2) << "they are taken off too";
  told("a", {{"sdxl", "", 3, 0}});
  EXPECT_EQ(seconds("a", "flux", "y"), 10) << "after it is loaded";
  EXPECT_NEAR(seconds("a", "sdxl", "y"), 0.9, 1e-12) << "as a part of loading, until it is known";
}

TEST_F(LoadTimesTest, WhatWasNeverThereTakesWhatOthersTook) {
  told("a", {{"flux", "", 8, 0}});
  told("b", {{"flux", "", 12, 0}});
  told("c", {{"sdxl", "", 3, 0}});
  EXPECT_EQ(seconds("c", "flux"), 12);
  EXPECT_EQ(seconds("c", "wan"), 2) << "two bytes a parameter, a gigabyte a second";
}

TEST_F(LoadTimesTest, ALostWorkerIsForgotten) {
  told("a", {{"flux", "", 8, 0}});
  times_.forget("a");
  EXPECT_EQ(seconds("a", "flux"), 0);
}

}  // namespace
}  // namespace pa
