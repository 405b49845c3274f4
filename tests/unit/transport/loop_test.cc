#include "shared/io/loop.h"

#include <gtest/gtest.h>

#include <csignal>
#include <thread>

#include "shared/io/clock.h"
#include "shared/io/queue.h"
#include "shared/io/signals.h"
#include "shared/io/wakeup.h"

namespace pa {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

bool readable(int fd) {
  pollfd polled{fd, POLLIN, 0};
  return ::poll(&polled, 1, 0) == 1;
}

TEST(WakeupTest, CountsAsOneUntilItIsSeen) {
  Wakeup wakeup;
  EXPECT_FALSE(readable(wakeup.fd()));
  wakeup.signal();
  wakeup.signal();
  EXPECT_TRUE(readable(wakeup.fd()));
  wakeup.drain();
  EXPECT_FALSE(readable(wakeup.fd()));
  wakeup.signal();
  EXPECT_TRUE(readable(wakeup.fd()));
}

TEST(LoopTest, WaitsUntilTheTimeGiven) {
  Loop loop;
  Wakeup wakeup;
  loop.watch(wakeup);
  const TimePoint start = loop.now();
  loop.wait(start + milliseconds{3});
  EXPECT_GE(loop.now() - start, milliseconds{3});
  loop.wait(start);
  loop.wait(TimePoint::min());
}

TEST(LoopTest, WakesForAThread) {
  Loop loop;
  Wakeup wakeup;
  loop.watch(wakeup);
  wakeup.signal();
  loop.wait(std::nullopt);
  EXPECT_FALSE(readable(wakeup.fd())) << "the loop has seen it";
}

TEST(LoopTest, LosesNoValueOfAThread) {
  constexpr int kValues = 20000;
  Loop loop;
  Wakeup wakeup;
  BoundedQueue<int> queue(8);
  loop.watch(wakeup);
  std::thread producer([&] {
    for (int i = 1; i <= kValues; ++i) {
      int value = i;
      while (!queue.try_push(value)) std::this_thread::yield();
      wakeup.signal();
    }
  });
  const TimePoint end = loop.now() + seconds{60};
  int last = 0;
  while (last < kValues && loop.now() < end) {
    loop.wait(end);
    while (const std::optional<int> value = queue.try_pop()) last = *value;
  }
  producer.join();
  EXPECT_EQ(last, kValues);
  EXPECT_LT(loop.now(), end) << "it slept through a signal";
}

TEST(LoopTest, WhatIsReadyEndsTheWaitAtOnce) {
  class Ready final : public Pollable {
   public:
    void descriptors(std::vector<int>&) const override {}
    bool ready() override { return true; }
  };
  Loop loop;
  Ready ready;
  loop.watch(ready);
  loop.wait(std::nullopt);
  loop.unwatch(ready);
  const TimePoint start = loop.now();
  loop.wait(start + milliseconds{1});
  EXPECT_GE(loop.now() - start, milliseconds{1});
}

TEST(SignalsTest, AreTakenOneByOneByTheLoop) {
  Signals signals;
  Loop loop;
  loop.watch(signals);
  EXPECT_EQ(signals.take(), std::nullopt);
  ASSERT_EQ(::raise(SIGHUP), 0);
  ASSERT_EQ(::raise(SIGTERM), 0);
  loop.wait(std::nullopt);
  const std::optional<int> first = signals.take();
  const std::optional<int> second = signals.take();
  EXPECT_EQ(signals.take(), std::nullopt);
  EXPECT_EQ(first.value_or(0) + second.value_or(0), SIGHUP + SIGTERM);
  unblock_signals();
}

}  // namespace
}  // namespace pa
