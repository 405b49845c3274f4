#include "shared/core/nearest.h"

#include <gtest/gtest.h>

namespace pa {
namespace {

const std::vector<std::string> kNames{"euler", "heun", "dpmpp_2m", "dpmpp_2m_sde"};

TEST(Nearest, CountsEdits) {
  EXPECT_EQ(edit_distance("", "abc"), 3.0);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3.0);
  EXPECT_EQ(edit_distance("ab", "ba"), 1.0);
  EXPECT_EQ(edit_distance("Euler", "euler"), 0.5);
}

TEST(Nearest, FindsWhatWasMeant) {
  EXPECT_EQ(nearest("eular", kNames), "euler");
  EXPECT_EQ(nearest("HEUN", kNames), "heun");
  EXPECT_EQ(nearest("dpmpp2m", kNames), "dpmpp_2m");
  EXPECT_EQ(nearest("uni_pc_bh2", kNames), "");
  EXPECT_EQ(nearest("x", {}), "");
}

TEST(Nearest, SuggestsAndLists) {
  EXPECT_EQ(suggestion("eular", kNames),
            "; did you mean 'euler'? There are: euler, heun, dpmpp_2m, dpmpp_2m_sde.");
  EXPECT_EQ(suggestion("zzzzzzzz", kNames, 2), "; there are: euler, heun and 2 more.");
  EXPECT_EQ(suggestion("euler", {}), "; there are none.");
}

}  // namespace
}  // namespace pa
