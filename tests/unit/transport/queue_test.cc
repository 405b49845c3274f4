#include "shared/io/queue.h"

#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <vector>

namespace pa {
namespace {

TEST(BoundedQueueTest, RefusesWhenFullAndLeavesTheValue) {
  BoundedQueue<std::unique_ptr<int>> queue(1);
  auto first = std::make_unique<int>(1);
  auto second = std::make_unique<int>(2);
  EXPECT_TRUE(queue.try_push(first));
  EXPECT_EQ(first, nullptr);
  EXPECT_FALSE(queue.try_push(second));
  ASSERT_NE(second, nullptr);
  EXPECT_EQ(**queue.try_pop(), 1);
  EXPECT_TRUE(queue.try_push(second));
}

TEST(BoundedQueueTest, DrainsAfterClose) {
  BoundedQueue<int> queue(3);
  int value = 1;
  ASSERT_TRUE(queue.try_push(value));
  value = 2;
  ASSERT_TRUE(queue.try_push(value));
  queue.close();
  EXPECT_FALSE(queue.try_push(value));
  EXPECT_EQ(queue.pop(), 1);
  EXPECT_EQ(queue.pop(), 2);
  EXPECT_EQ(queue.pop(), std::nullopt);
  EXPECT_EQ(queue.try_pop(), std::nullopt);
}

TEST(BoundedQueueTest, CloseEndsAWait) {
  BoundedQueue<int> queue(1);
  std::thread waiter([&] { EXPECT_EQ(queue.pop(), std::nullopt); });
  queue.close();
  waiter.join();
}

TEST(BoundedQueueTest, KeepsTheOrderBetweenThreads) {
  constexpr int kValues = 20000;
  BoundedQueue<int> queue(16);
  std::thread producer([&] {
    for (int i = 0; i < kValues; ++i) {
      int value = i;
      while (!queue.try_push(value)) std::this_thread::yield();
    }
    queue.close();
  });
  int expected = 0;
  while (const std::optional<int> value = queue.pop()) {
    if (*value != expected) ADD_FAILURE() << *value << " came instead of " << expected;
    ++expected;
  }
  producer.join();
  EXPECT_EQ(expected, kValues);
}

}  // namespace
}  // namespace pa
