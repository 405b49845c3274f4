#include "shared/io/framing.h"

#include <gtest/gtest.h>

#include "shared/wire/codec.h"

namespace pa {
namespace {

constexpr std::uint64_t kChunk = 1000;

TEST(FramingTest, LimitsAreThoseOfTheChannel) {
  EXPECT_EQ(frame_limits(Channel::kWorkerControl, kChunk).header_bytes, 1U << 20);
  EXPECT_EQ(frame_limits(Channel::kWorkerControl, kChunk).payload_bytes, 0U);
  for (const Channel channel : {Channel::kClient, Channel::kWorkerData}) {
    EXPECT_EQ(frame_limits(channel, kChunk).header_bytes, 1U << 20);
    EXPECT_EQ(frame_limits(channel, kChunk).payload_bytes, kChunk);
  }
  EXPECT_GT(largest_frame_bytes({10, 20}), 20U);
  EXPECT_GT(largest_frame_bytes({30, 20}), 30U);
}

TEST(FramingTest, ReadsOneFrameOrTwo) {
  const FrameLimits limits = frame_limits(Channel::kWorkerData, kChunk);
  const std::string header = encode(Put{});
  const auto bytes = std::as_bytes(std::span(header));
  EXPECT_TRUE(read_frames(limits, bytes, 0, 1).ok());
  EXPECT_TRUE(read_frames(limits, bytes, kChunk, 2).ok());
  EXPECT_FALSE(read_frames(limits, bytes, kChunk + 1, 2).ok());
  EXPECT_FALSE(read_frames(limits, bytes, 0, 0).ok());
  EXPECT_FALSE(read_frames(limits, bytes, 0, 3).ok());
  EXPECT_FALSE(read_frames({5, kChunk}, bytes, 0, 1).ok());
  const std::string other = encode(Rehello{});
  EXPECT_FALSE(read_frames(limits, std::as_bytes(std::span(other)), 1, 2).ok());
}

}  // namespace
}  // namespace pa
