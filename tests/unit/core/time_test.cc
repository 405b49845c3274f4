#include "shared/core/time.h"

#include <gtest/gtest.h>

namespace pa {
namespace {

TEST(TimeTest, SecondsComeBack) {
  using std::chrono::milliseconds;
  EXPECT_DOUBLE_EQ(to_seconds(milliseconds{1500}), 1.5);
  EXPECT_EQ(from_seconds(0.25), milliseconds{250});
  EXPECT_EQ(TimePoint{} + from_seconds(2) - TimePoint{}, std::chrono::seconds{2});
}

}  // namespace
}  // namespace pa
