#include "shared/io/segment_maps.h"

#include <gtest/gtest.h>

#include <vector>

namespace pa {
namespace {

constexpr TimePoint kNow{std::chrono::seconds{100}};

TEST(SegmentMaps, MapsWhatComesAgain) {
  SegmentMaps maps;
  const Segment segment = *Segment::create(10'000);
  EXPECT_TRUE(maps.find(segment, kNow).empty()) << "its pages may not be there";
  const Buffer map = maps.find(segment, kNow);
  ASSERT_EQ(map.size(), 10'000U);
  map.data()[9'999] = std::byte{7};
  std::vector<std::byte> read(1);
  ASSERT_TRUE(segment.read(9'999, read).ok());
  EXPECT_EQ(read[0], std::byte{7});
  EXPECT_EQ(maps.find(segment, kNow).data(), map.data()) << "the same map";
}

TEST(SegmentMaps, OtherMemoryIsOther) {
  SegmentMaps maps;
  for (int i = 0; i < 20; ++i) {
    // Freed each time: the system may number the next as this one.
    const Segment segment = *Segment::create(4096);
    EXPECT_TRUE(maps.find(segment, kNow).empty()) << i;
  }
}

TEST(SegmentMaps, NothingIsKeptLongOrWithoutBound) {
  SegmentMaps maps;
  std::vector<Segment> segments;
  for (std::size_t i = 0; i <= SegmentMaps::kMost; ++i) {
    segments.push_back(*Segment::create(4096));
    (void)maps.find(segments.back(), kNow);
  }
  EXPECT_FALSE(maps.find(segments.back(), kNow).empty());
  EXPECT_TRUE(maps.find(segments.front(), kNow).empty()) << "it made room for others";

  std::weak_ptr<std::byte> map = maps.find(segments.front(), kNow).owner();
  maps.expire(kNow + SegmentMaps::kIdle / 2);
  EXPECT_FALSE(map.expired());
  maps.expire(kNow + SegmentMaps::kIdle);
  EXPECT_TRUE(map.expired());
  EXPECT_TRUE(maps.find(segments.front(), kNow).empty());
}

TEST(SegmentMaps, WhatMayNotBeWrittenToIsNotMapped) {
  SegmentMaps maps;
  const Segment reader = *Segment::create(4096)->read_only();
  EXPECT_TRUE(maps.find(reader, kNow).empty());
  EXPECT_TRUE(maps.find(reader, kNow).empty());
}

}  // namespace
}  // namespace pa
