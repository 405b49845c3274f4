#include "worker/io/row_placement.h"

#include <gtest/gtest.h>

#include <cstring>
#include <utility>

namespace pa {
namespace {

constexpr std::uint64_t kRow = 8;

/// Samples 2, 3 and 7 of a result of rows of 8 bytes.
Assign shard() {
  Assign assign;
  assign.samples = {2, 3, 7};
  assign.result = {"output", DType::kF32, {3, 2}};
  return assign;
}

/// Rows of bytes 1, 2, 3, ...
RowsFinished rows(std::int64_t first, std::size_t count) {
  RowsFinished rows;
  rows.first_row = first;
  rows.samples.resize(count);
  auto memory = std::make_shared<std::vector<std::byte>>(kRow * count);
  for (std::size_t i = 0; i < memory->size(); ++i) (*memory)[i] = static_cast<std::byte>(i + 1);
  rows.bytes = {std::shared_ptr<std::byte>(memory, memory->data()), memory->size()};
  return rows;
}

/// The result's bytes at a sample's place.
std::vector<int> at(const Segment& result, std::uint64_t sample) {
  std::vector<std::byte> bytes(kRow);
  PA_CHECK(result.read(sample * kRow, bytes).ok());
  std::vector<int> values;
  for (const std::byte byte : bytes) values.push_back(std::to_integer<int>(byte));
  return values;
}

/// At samples 2, 3 and 7; nothing elsewhere.
void expect_all_rows(const Segment& result) {
  EXPECT_EQ(at(result, 2), (std::vector<int>{1, 2, 3, 4, 5, 6, 7, 8}));
  EXPECT_EQ(at(result, 3), (std::vector<int>{9, 10, 11, 12, 13, 14, 15, 16}));
  EXPECT_EQ(at(result, 7), (std::vector<int>{17, 18, 19, 20, 21, 22, 23, 24}));
  for (const std::uint64_t other : {0, 1, 4, 5, 6}) {
    EXPECT_EQ(at(result, other), std::vector<int>(kRow)) << other;
  }
}

class RowPlacementBy : public ::testing::TestWithParam<std::uint64_t> {};

TEST_P(RowPlacementBy, RowsGoToTheirSamplesPlaces) {
  const Segment result = *Segment::create(8 * kRow);
  auto placement = RowPlacement::begin(shard(), rows(0, 3), result, {});
  ASSERT_TRUE(placement.ok());
  std::uint64_t calls = 1;
  for (Result<bool> whole = false; !*whole; ++calls) {
    whole = placement->place(GetParam());
    ASSERT_TRUE(whole.ok()) << whole.error().message;
    ASSERT_LE(calls, 3 * kRow);
    EXPECT_EQ(*whole, calls * GetParam() >= 3 * kRow);
  }
  expect_all_rows(result);
}

TEST_P(RowPlacementBy, RowsGoThroughAMapAsWell) {
  const Segment result = *Segment::create(8 * kRow);
  auto placement = RowPlacement::begin(shard(), rows(0, 3), *result.read_only(),
                                       *result.map_shared(Segment::Access::kWrite));
  ASSERT_TRUE(placement.ok());
  for (Result<bool> whole = false; !*whole;) {
    whole = placement->place(GetParam());
    ASSERT_TRUE(whole.ok()) << whole.error().message;
  }
  expect_all_rows(result);
}

INSTANTIATE_TEST_SUITE_P(Bytes, RowPlacementBy, ::testing::Values(1, 5, 8, 12, 16, 23, 24, 1000));

TEST(RowPlacement, RowsThatTheShardDoesNotHaveAreRefused) {
  const Segment result = *Segment::create(8 * kRow);
  EXPECT_TRUE(RowPlacement::begin(shard(), rows(1, 2), result, {}).ok());
  EXPECT_FALSE(RowPlacement::begin(shard(), rows(2, 2), result, {}).ok());
  EXPECT_FALSE(RowPlacement::begin(shard(), rows(-1, 2), result, {}).ok());
  RowsFinished torn = rows(0, 3);
  torn.bytes = torn.bytes.slice(0, 20);
  EXPECT_FALSE(RowPlacement::begin(shard(), torn, result, {}).ok());
}

TEST(RowPlacement, NothingIsWrittenBeyondTheEndOrAfterTheFact) {
  const Segment small = *Segment::create(7 * kRow);
  auto placement = RowPlacement::begin(shard(), rows(1, 2), small, {});
  ASSERT_TRUE(placement.ok());
  EXPECT_FALSE(placement->place(1000).ok());
  placement = RowPlacement::begin(shard(), rows(1, 2), small,
                                  small.map_shared(Segment::Access::kWrite)->slice(0, 7 * kRow));
  EXPECT_FALSE(placement->place(1000).ok());

  const Segment result = *Segment::create(8 * kRow);
  placement = RowPlacement::begin(shard(), rows(1, 2), result, {});
  ASSERT_TRUE(placement->place(4).ok());
  ASSERT_TRUE(result.freeze().ok());
  EXPECT_FALSE(placement->place(1000).ok()) << "too late";
}

}  // namespace
}  // namespace pa
