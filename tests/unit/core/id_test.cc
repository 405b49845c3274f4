#include "shared/core/id.h"

#include <gtest/gtest.h>

#include <type_traits>
#include <unordered_set>

namespace pa {
namespace {

TEST(IdTest, KindsAreNotInterchangeable) {
  static_assert(!std::is_convertible_v<WorkerId, ShardId>);
  static_assert(!std::is_convertible_v<std::uint64_t, WorkerId>);
  EXPECT_LT(WorkerId{1}, WorkerId{2});
  EXPECT_EQ((std::unordered_set<WorkerId>{WorkerId{1}, WorkerId{1}}.size()), 1U);
}

TEST(RequestIdTest, IsWrittenAs32Digits) {
  EXPECT_EQ(to_string(RequestId{0x0123456789abcdef, 1}), "0123456789abcdef0000000000000001");
}

TEST(RequestIdTest, ComesBackFromText) {
  const RequestId id{0xffffffffffffffff, 0x8000000000000000};
  EXPECT_EQ(parse_request_id(to_string(id)), id);
  EXPECT_EQ(parse_request_id("ABCDEF00000000000000000000000000"),
            (RequestId{0xabcdef0000000000, 0}));
}

TEST(RequestIdTest, IsNothingElse) {
  for (const char* text :
       {"", "0", "0123456789abcdef000000000000000", "0123456789abcdef00000000000000012",
        "g123456789abcdef0000000000000001", " 123456789abcdef0000000000000001",
        "0x23456789abcdef0000000000000001", "-123456789abcdef0000000000000001",
        "+123456789abcdef0000000000000001"}) {
    EXPECT_EQ(parse_request_id(text), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace pa
