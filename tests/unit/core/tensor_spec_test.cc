#include "shared/core/tensor_spec.h"

#include <gtest/gtest.h>

#include <limits>

namespace pa {
namespace {

constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();

constexpr DType kDTypes[] = {DType::kBool,   DType::kU8,     DType::kI8,  DType::kI16,
                             DType::kI32,    DType::kI64,    DType::kF16, DType::kBF16,
                             DType::kF32,    DType::kF64,    DType::kU16, DType::kU32,
                             DType::kF8E4M3, DType::kF8E5M2, DType::kU64};

TEST(DTypeTest, NamesComeBack) {
  for (const DType dtype : kDTypes) EXPECT_EQ(dtype_named(name_of(dtype)), dtype);
  EXPECT_EQ(dtype_named("f32"), std::nullopt);
  EXPECT_EQ(dtype_named(""), std::nullopt);
}

TEST(DTypeTest, HasTheSizeThatItsNameTells) {
  for (const DType dtype : kDTypes) {
    if (dtype == DType::kBool) continue;
    const std::string name(name_of(dtype));
    const std::size_t digits = name.find_first_of("123468");
    EXPECT_EQ(size_of(dtype) * 8, std::stoul(name.substr(digits))) << name;
  }
  EXPECT_EQ(size_of(DType::kBool), 1U);
}

TEST(ShapeTest, Counts) {
  EXPECT_EQ(element_count(Shape{}), 1);
  EXPECT_EQ(element_count(Shape{21, 16, 128, 128}), 21 * 16 * 128 * 128);
  EXPECT_EQ(element_count(Shape{3, 0, 5}), 0);
  EXPECT_EQ(element_count(Shape{kMost}), kMost);
}

TEST(ShapeTest, RefusesNegativeAndOverflowingDimensions) {
  EXPECT_EQ(element_count(Shape{-1}), std::nullopt);
  EXPECT_EQ(element_count(Shape{0, -1}), std::nullopt);
  EXPECT_EQ(element_count(Shape{kMost, 2}), std::nullopt);
  EXPECT_EQ(element_count(Shape{std::int64_t{1} << 32, std::int64_t{1} << 31}), std::nullopt);
}

TEST(ShapeTest, IsReadable) {
  EXPECT_EQ(to_string(Shape{}), "[]");
  EXPECT_EQ(to_string(Shape{21, -1, 3}), "[21, -1, 3]");
}

TEST(TensorSpecTest, KnowsItsBytes) {
  EXPECT_EQ(*byte_size({"x", DType::kF32, {2, 3}}), 24U);
  EXPECT_EQ(*byte_size({"x", DType::kBF16, {}}), 2U);
  EXPECT_EQ(*row_bytes({"x", DType::kF64, {7, 3}}), 24U);
  EXPECT_EQ(*row_bytes({"x", DType::kU8, {0, 3}}), 3U);
}

TEST(TensorSpecTest, RefusesBytesThatDoNotFit) {
  EXPECT_EQ(byte_size({"x", DType::kF32, {kMost}}).error().code, Code::kInvalid);
  EXPECT_NE(byte_size({"big", DType::kF32, {kMost}}).error().message.find("'big'"),
            std::string::npos);
  EXPECT_FALSE(byte_size({"x", DType::kF32, {-3}}).ok());
  EXPECT_FALSE(row_bytes({"x", DType::kF32, {}}).ok());
}

}  // namespace
}  // namespace pa
