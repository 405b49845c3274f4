#include "clients/cli/progress.h"

#include <gtest/gtest.h>

namespace pa::cli {
namespace {

using std::chrono::seconds;

RequestProgress half() {
  RequestProgress progress;
  progress.samples = 21;
  progress.done = 10;
  progress.steps = 210;
  progress.steps_total = 420;
  progress.devices = {{"a", "cpu", 11, 6, 120, 2.0}, {"b", "cpu", 10, 4, 90, 3.0}};
  return progress;
}

TEST(Progress, ShowsPartsRatesAndTimeLeft) {
  EXPECT_EQ(progress_text(half(), seconds{3}, 100),
            " 50% [##########----------] 10/21  a 6/11 60.0 it/s  b 4/10 30.0 it/s  3 s left");
}

TEST(Progress, FitsTheTerminal) {
  const std::string text = progress_text(half(), seconds{3}, 67);
  EXPECT_LE(text.size(), 67U);
  EXPECT_EQ(text, " 50% [##########----------] 10/21  a 6/11 60.0 it/s  ...  3 s left");
  for (std::size_t width = 0; width < 100; ++width) {
    EXPECT_LE(progress_text(half(), seconds{3}, width).size(), width);
  }
}

TEST(Progress, KnowsNothingYet) {
  RequestProgress progress;
  progress.samples = 2;
  progress.devices = {{"a", "cpu", 2, 0, 0, 0}};
  EXPECT_EQ(progress_text(progress, Duration::zero(), 100),
            "  0% [--------------------] 0/2  a 0/2");
}

TEST(Progress, SaysWhatItWaitsFor) {
  RequestProgress progress = half();
  progress.waiting_for = "no live worker has the model";
  EXPECT_EQ(progress_text(progress, seconds{3}, 100),
            " 50% [##########----------] 10/21  waiting: no live worker has the model");
}

TEST(Progress, TimesAreShort) {
  EXPECT_EQ(time_left_text(0.2), "1 s");
  EXPECT_EQ(time_left_text(99), "99 s");
  EXPECT_EQ(time_left_text(200), "3:20 min");
  EXPECT_EQ(time_left_text(7500), "2:05 h");
  EXPECT_EQ(time_left_text(-5), "0 s");
}

}  // namespace
}  // namespace pa::cli
