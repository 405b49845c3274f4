#include "worker/engine/row_choice.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace pa {
namespace {

/// Which rows are chosen, as letters: "a" is the first one offered.
std::string choose(const std::vector<WaitingRow>& rows, std::int64_t max_rows) {
  RowChoice choice(max_rows);
  std::string chosen;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (choice.offer(rows[i])) chosen += static_cast<char>('a' + i);
  }
  return chosen;
}

TEST(RowChoice, TakesTheOldestUpToTheLimit) {
  EXPECT_EQ(choose({{}, {}, {}, {}}, 3), "abc");
  EXPECT_EQ(choose({{}, {}}, 3), "ab");
  EXPECT_EQ(choose({}, 3), "");
}

TEST(RowChoice, PassesOverRowsOfOtherGroups) {
  EXPECT_EQ(choose({{1}, {2}, {1}, {2}, {1}}, 8), "ace");
}

TEST(RowChoice, HonoursTheLimitOfEveryRowInThePass) {
  EXPECT_EQ(choose({{0, 2}, {}, {}}, 8), "ab");
  EXPECT_EQ(choose({{}, {}, {0, 2}, {}}, 8), "abd");
  EXPECT_EQ(choose({{}, {0, 2}, {}}, 8), "ab");
  EXPECT_EQ(choose({{0, 16}, {}, {}}, 2), "ab");
}

TEST(RowChoice, LeavesDeterministicRowsAlone) {
  EXPECT_EQ(choose({{0, 0, true}, {}, {0, 0, true}}, 8), "a");
  EXPECT_EQ(choose({{}, {0, 0, true}, {}}, 8), "ac");
}

TEST(RowChoice, IsFullOnlyWithRows) {
  RowChoice choice(1);
  EXPECT_FALSE(choice.full());
  EXPECT_TRUE(choice.offer({}));
  EXPECT_TRUE(choice.full());
  EXPECT_EQ(choice.count(), 1);
}

}  // namespace
}  // namespace pa
