#include "shared/core/recent_set.h"

#include <gtest/gtest.h>

namespace pa {
namespace {

TEST(RecentSetTest, ForgetsTheOldestFirst) {
  RecentSet<int> recent(2);
  recent.insert(1);
  recent.insert(2);
  recent.insert(1);
  EXPECT_TRUE(recent.contains(1) && recent.contains(2));
  recent.insert(3);
  EXPECT_FALSE(recent.contains(1));
  EXPECT_TRUE(recent.contains(2) && recent.contains(3));
}

}  // namespace
}  // namespace pa
