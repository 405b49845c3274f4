#include "shared/wire/buffer_pool.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <optional>
#include <thread>
#include <vector>

namespace pa {
namespace {

constexpr std::uint64_t kMiB = 1u << 20;

TEST(BufferPoolTest, AlignsAndSizes) {
  BufferPool pool(16 * kMiB);
  for (const std::uint64_t bytes : {std::uint64_t{1}, std::uint64_t{63}, std::uint64_t{4097},
                                    kMiB - 1, kMiB, kMiB + 1, 5 * kMiB + 12345}) {
    const Buffer buffer = pool.allocate(bytes);
    ASSERT_EQ(buffer.size(), bytes);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % 64, 0U);
    buffer.data()[0] = std::byte{1};
    buffer.data()[bytes - 1] = std::byte{2};
  }
}

TEST(BufferPoolTest, TellsWhenThereIsNoMemory) {
  BufferPool pool(16 * kMiB);
  EXPECT_TRUE(pool.allocate(0).empty());
  EXPECT_TRUE(pool.allocate(std::uint64_t{1} << 45).empty());
  EXPECT_TRUE(pool.allocate(std::numeric_limits<std::uint64_t>::max()).empty());
}

TEST(BufferPoolTest, GivesAFreedBlockToTheNextBufferOfItsSize) {
  BufferPool pool(16 * kMiB);
  std::optional<Buffer> first = pool.allocate(4 * kMiB);
  const std::byte* const place = first->data();
  first.reset();
  EXPECT_EQ(pool.kept_bytes(), 4 * kMiB);
  const Buffer second = pool.allocate(4 * kMiB - 100);
  EXPECT_EQ(second.data(), place);
  EXPECT_EQ(pool.kept_bytes(), 0U);
  const Buffer third = pool.allocate(4 * kMiB);
  EXPECT_NE(third.data(), place);
}

TEST(BufferPoolTest, KeepsNoMoreThanItMayAndTheNewest) {
  BufferPool pool(6 * kMiB);
  std::vector<Buffer> buffers;
  for (int i = 0; i < 4; ++i) buffers.push_back(pool.allocate(2 * kMiB));
  const std::byte* const newest = buffers.back().data();
  for (Buffer& buffer : buffers) buffer = {};
  EXPECT_EQ(pool.kept_bytes(), 6 * kMiB);
  EXPECT_EQ(pool.allocate(2 * kMiB).data(), newest);
  { const Buffer large = pool.allocate(8 * kMiB); }
  EXPECT_EQ(pool.kept_bytes(), 6 * kMiB);
  { const Buffer small = pool.allocate(kMiB / 2); }
  EXPECT_EQ(pool.kept_bytes(), 6 * kMiB);
}

TEST(BufferPoolTest, BuffersOutliveItAndEndOnAnyThread) {
  Buffer buffer;
  {
    BufferPool pool(16 * kMiB);
    buffer = pool.allocate(2 * kMiB);
    Buffer other = pool.allocate(2 * kMiB);
    std::thread([gone = std::move(other)]() mutable { gone = {}; }).join();
    EXPECT_EQ(pool.kept_bytes(), 2 * kMiB);
  }
  buffer.data()[2 * kMiB - 1] = std::byte{7};
}

}  // namespace
}  // namespace pa
