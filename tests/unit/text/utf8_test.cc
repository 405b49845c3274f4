#include "shared/core/utf8.h"

#include <gtest/gtest.h>

namespace pa {
namespace {

TEST(Utf8, KnowsTheLengthOfACharacter) {
  EXPECT_EQ(utf8_length(""), 0u);
  EXPECT_EQ(utf8_length("ab"), 1u);
  EXPECT_EQ(utf8_length("\u00e9b"), 2u);
  EXPECT_EQ(utf8_length("\u20ac"), 3u);
  EXPECT_EQ(utf8_length("\U0001F600"), 4u);
}

TEST(Utf8, RefusesWhatTheStandardForbids) {
  EXPECT_EQ(utf8_length("\x80"), 0u) << "a continuation without a beginning";
  EXPECT_EQ(utf8_length("\xC3"), 0u) << "cut short";
  EXPECT_EQ(utf8_length("\xE2\x82"), 0u) << "cut short";
  EXPECT_EQ(utf8_length("\xC0\xAF"), 0u) << "overlong";
  EXPECT_EQ(utf8_length("\xE0\x80\xAF"), 0u) << "overlong";
  EXPECT_EQ(utf8_length("\xF0\x80\x80\xAF"), 0u) << "overlong";
  EXPECT_EQ(utf8_length("\xED\xA0\x80"), 0u) << "a surrogate";
  EXPECT_EQ(utf8_length("\xF4\x90\x80\x80"), 0u) << "beyond U+10FFFF";
  EXPECT_EQ(utf8_length("\xFF"), 0u);
}

TEST(Utf8, FindsTheFirstInvalidByte) {
  EXPECT_EQ(find_invalid_utf8("caf\u00e9"), std::string_view::npos);
  EXPECT_EQ(find_invalid_utf8("ab\xFF"), 2u);
}

TEST(Utf8, ReplacesInvalidBytesOneByOne) {
  EXPECT_EQ(to_valid_utf8("a\xFF\xFE"
                          "b"),
            "a\uFFFD\uFFFDb");
  EXPECT_EQ(to_valid_utf8("caf\u00e9"), "caf\u00e9");
  EXPECT_EQ(to_valid_utf8(""), "");
}

}  // namespace
}  // namespace pa
