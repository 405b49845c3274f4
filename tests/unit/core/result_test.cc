#include "shared/core/result.h"

#include <gtest/gtest.h>

#include <memory>

namespace pa {
namespace {

constexpr Code kCodes[] = {Code::kInvalid,   Code::kUnavailable, Code::kOverloaded, Code::kDeadline,
                           Code::kCancelled, Code::kWorkerLost,  Code::kInternal};

TEST(CodeTest, NamesComeBack) {
  for (const Code code : kCodes) EXPECT_EQ(code_named(name_of(code)), code);
  EXPECT_EQ(name_of(Code::kWorkerLost), "worker_lost");
}

TEST(CodeTest, AnUnknownNameIsInternal) { EXPECT_EQ(code_named("purple"), Code::kInternal); }

TEST(ResultTest, HoldsAValueOrAnError) {
  const Result<int> value = 3;
  ASSERT_TRUE(value.ok());
  EXPECT_EQ(*value, 3);
  const Result<int> error = invalid("too odd", "/samples");
  ASSERT_FALSE(error.ok());
  EXPECT_EQ(error.error().code, Code::kInvalid);
  EXPECT_EQ(error.error().message, "too odd");
  EXPECT_EQ(error.error().field, "/samples");
}

TEST(ResultTest, GivesItsValueAway) {
  Result<std::unique_ptr<int>> result = std::make_unique<int>(5);
  const std::unique_ptr<int> taken = std::move(result).value();
  EXPECT_EQ(*taken, 5);
}

TEST(ResultDeathTest, AbortsWhenTheAbsentSideIsRead) {
  const Result<int> value = 3;
  const Result<int> error = internal("no");
  EXPECT_DEATH((void)value.error(), "broken invariant");
  EXPECT_DEATH((void)error.value(), "broken invariant");
}

Status odd(int number) {
  if (number % 2 == 0) return invalid(std::to_string(number) + " is even");
  return {};
}

Result<int> half(int number) {
  if (number % 2 != 0) return invalid(std::to_string(number) + " is odd");
  return number / 2;
}

Result<std::string> eighth(int number) {
  PA_ASSIGN(const int halved, half(number));
  PA_ASSIGN(const int quartered, half(halved));
  PA_TRY(odd(quartered + 1));
  return std::to_string(quartered / 2);
}

TEST(ResultTest, ErrorsPassThroughCallers) {
  EXPECT_EQ(*eighth(16), "2");
  EXPECT_EQ(eighth(3).error().message, "3 is odd");
  EXPECT_EQ(eighth(6).error().message, "3 is odd");
  EXPECT_EQ(eighth(4).error().message, "2 is even");
}

}  // namespace
}  // namespace pa
