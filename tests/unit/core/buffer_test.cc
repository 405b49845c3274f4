#include "shared/core/buffer.h"

#include <gtest/gtest.h>

#include <vector>

namespace pa {
namespace {

TEST(BufferTest, ASliceKeepsTheWholeAlive) {
  auto memory = std::make_shared<std::vector<std::byte>>(10, std::byte{3});
  const std::weak_ptr<std::vector<std::byte>> alive = memory;
  Buffer whole(std::shared_ptr<std::byte>(memory, memory->data()), memory->size());
  memory.reset();
  Buffer slice = whole.slice(4, 6);
  EXPECT_EQ(slice.data(), whole.data() + 4);
  EXPECT_EQ(slice.bytes().size(), 6U);
  whole = {};
  EXPECT_FALSE(alive.expired());
  EXPECT_EQ(slice.bytes()[5], std::byte{3});
  slice = {};
  EXPECT_TRUE(alive.expired());
}

TEST(BufferTest, IsEmptyAtFirst) {
  const Buffer none;
  EXPECT_TRUE(none.empty());
  EXPECT_TRUE(none.bytes().empty());
}

}  // namespace
}  // namespace pa
