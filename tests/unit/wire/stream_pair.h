#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <deque>
#include <optional>
#include <random>
#include <utility>
#include <variant>
#include <vector>

#include "shared/wire/streams.h"

namespace pa::test {

inline constexpr PeerId kSender{1};    // As the receiver calls it.
inline constexpr PeerId kReceiver{2};  // As the sender calls it.
inline constexpr BufferId kSource{10};
inline constexpr BufferId kTarget{20};
inline constexpr StreamOptions kOptions{.chunk_bytes = 10,
                                        .window_bytes = 40,
                                        .retry = std::chrono::seconds{1},
                                        .pause = std::chrono::milliseconds{2},
                                        .keep_bytes = 0};

inline StreamId stream(std::uint64_t shard = 1) {
  return {StreamKind::kShardResult, {}, ShardId{shard}};
}

inline void fill(const Buffer& buffer, unsigned salt = 0) {
  for (std::uint64_t i = 0; i < buffer.size(); ++i) {
    buffer.data()[i] = static_cast<std::byte>(i * 7 + i / 256 + salt);
  }
}

inline bool same(const Buffer& a, const Buffer& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size()) == 0;
}

/// Both ends of streams between two peers, and the messages between them.
class Pair {
 public:
  explicit Pair(std::uint64_t bytes, StreamOptions options = kOptions)
      : sender(options), receiver(options) {
    EXPECT_TRUE(sender.allocate(kSource, bytes).ok());
    EXPECT_TRUE(receiver.allocate(kTarget, bytes).ok());
    if (bytes > 0) fill(sender.buffer(kSource));
  }

  void pump() {
    std::vector<StreamEvent> events;
    std::vector<Outgoing> out;
    sender.pump(now, out, events);
    for (Outgoing& o : out) {
      EXPECT_EQ(o.peer, kReceiver);
      down.push_back(std::move(o));
    }
    out.clear();
    receiver.pump(now, out, events);
    for (Outgoing& o : out) {
      EXPECT_EQ(o.peer, kSender);
      up.push_back(std::move(o));
    }
    for (const StreamEvent& event : events) {
      if (const auto* told = std::get_if<StreamArrived>(&event)) {
        arrived = *told;
        ++arrivals;
      } else if (std::holds_alternative<StreamBroken>(event)) {
        ++brokens;
      } else if (std::holds_alternative<StreamUnwritable>(event)) {
        ++unwritables;
      } else {
        ++sents;
      }
    }
  }

  void deliver_down(const Outgoing& o) {
    receiver.on(kSender, std::get<Put>(o.message), o.payload.bytes(), now);
  }
  void deliver_up(const Outgoing& o) {
    if (const auto* want = std::get_if<Want>(&o.message)) sender.on(kReceiver, *want, now);
    if (const auto* got = std::get_if<Got>(&o.message)) sender.on(kReceiver, *got, now);
  }

  /// Delivers everything until nothing more is said.
  void settle() {
    for (pump(); !down.empty() || !up.empty(); pump()) {
      for (const Outgoing& o : std::exchange(down, {})) deliver_down(o);
      for (const Outgoing& o : std::exchange(up, {})) deliver_up(o);
    }
  }

  [[nodiscard]] bool complete() const {
    return arrived && arrived->whole && same(sender.buffer(kSource), receiver.buffer(kTarget));
  }

  Streams sender;
  Streams receiver;
  TimePoint now;
  std::deque<Outgoing> down;
  std::deque<Outgoing> up;
  std::optional<StreamArrived> arrived;
  int arrivals = 0;
  int sents = 0;
  int brokens = 0;
  int unwritables = 0;
};

/// What loses, doubles, delays and reorders messages, from a seed.
class BadLine {
 public:
  explicit BadLine(unsigned seed) : random(seed) {}

  /// Gives `deliver` what is in the queue; what is late goes back to it.
  template <class Deliver>
  void pass(std::deque<Outgoing>& queue, const Deliver& deliver) {
    std::deque<Outgoing> now = std::exchange(queue, {});
    if (one_in(3)) std::shuffle(now.begin(), now.end(), random);
    for (const Outgoing& o : now) {
      if (one_in(10)) continue;
      if (one_in(10)) {
        queue.push_back(o);
        continue;
      }
      deliver(o);
      if (one_in(10)) deliver(o);
    }
  }
  /// Both ways, and 10 ms pass.
  void pass(Pair& pair) {
    pass(pair.down, [&](const Outgoing& o) { pair.deliver_down(o); });
    pass(pair.up, [&](const Outgoing& o) { pair.deliver_up(o); });
    pair.now += std::chrono::milliseconds{10};
  }

  std::mt19937 random;

 private:
  bool one_in(unsigned n) { return random() % n == 0; }
};

}  // namespace pa::test
