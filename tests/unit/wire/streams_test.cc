#include "shared/wire/streams.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <string>

#include "tests/unit/wire/stream_pair.h"

namespace pa {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::BadLine;
using test::kOptions;
using test::kReceiver;
using test::kSender;
using test::kSource;
using test::kTarget;
using test::Pair;
using test::same;
using test::stream;

const Put& put_in(const Outgoing& o) { return std::get<Put>(o.message); }

TEST(StreamsTest, MovesAStreamThatIsAskedFor) {
  Pair pair(95);
  pair.sender.send(stream(), kReceiver, 0, 0, pair.now);
  pair.sender.append(stream(), {kSource, 0, 95, 0}, true);
  pair.pump();
  EXPECT_TRUE(pair.down.empty()) << "nothing before it is asked for";
  pair.receiver.receive(stream(), kSender, kTarget, 95, true, pair.now);
  pair.settle();
  EXPECT_TRUE(pair.complete());
  EXPECT_EQ(pair.sents, 1);
}

TEST(StreamsTest, MovesAnEagerStreamAndDoesNotSendItTwice) {
  Pair pair(95);
  pair.receiver.receive(stream(), kSender, kTarget, 95, true, pair.now);
  pair.sender.send(stream(), kReceiver, 30, 0, pair.now);
  pair.sender.append(stream(), {kSource, 0, 95, 0}, true);
  pair.pump();
  ASSERT_EQ(pair.down.size(), 3U);
  ASSERT_EQ(pair.up.size(), 1U);
  EXPECT_FALSE(std::get<Want>(pair.up[0].message).again);
  pair.deliver_up(pair.up[0]);  // While three chunks are under way.
  pair.up.clear();
  pair.pump();
  ASSERT_EQ(pair.down.size(), 4U);
  EXPECT_EQ(put_in(pair.down[3]).offset, 30U);
  pair.settle();
  EXPECT_TRUE(pair.complete());
}

TEST(StreamsTest, SendsFromWhereTheBytesLie) {
  Pair pair(30);
  pair.sender.send(stream(), kReceiver, 100, 0, pair.now);
  pair.sender.append(stream(), {kSource, 5, 25, 0}, true);
  pair.pump();
  ASSERT_EQ(pair.down.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(pair.down[i].payload.data(), pair.sender.buffer(kSource).data() + 5 + 10 * i);
  }
  EXPECT_EQ(pair.down[2].payload.size(), 5U);
}

TEST(StreamsTest, NeverExceedsTheWindow) {
  Pair pair(1000);
  pair.receiver.receive(stream(), kSender, kTarget, 1000, true, pair.now);
  pair.sender.send(stream(), kReceiver, 0, 0, pair.now);
  pair.sender.append(stream(), {kSource, 0, 1000, 0}, true);
  std::uint64_t sent = 0;
  std::uint64_t confirmed = 0;
  std::uint64_t most = 0;
  for (pair.pump(); !pair.down.empty() || !pair.up.empty(); pair.pump()) {
    while (!pair.down.empty()) {
      const Outgoing o = pair.down.front();
      pair.down.pop_front();
      sent = put_in(o).offset + o.payload.size();
      most = std::max(most, sent - confirmed);
      pair.deliver_down(o);
      std::vector<Outgoing> out;
      std::vector<StreamEvent> events;
      pair.receiver.pump(pair.now, out, events);
      for (Outgoing& reply : out) pair.up.push_back(std::move(reply));
    }
    for (const Outgoing& o : std::exchange(pair.up, {})) {
      if (const auto* got = std::get_if<Got>(&o.message)) confirmed = got->upto;
      pair.deliver_up(o);
    }
  }
  EXPECT_EQ(sent, 1000U);
  EXPECT_EQ(most, 40U);
}

TEST(StreamsTest, ConfirmsEachQuarterOfTheWindowAndTheEnd) {
  Pair pair(25);
  pair.receiver.receive(stream(), kSender, kTarget, 25, false, pair.now);
  pair.sender.send(stream(), kReceiver, 40, 0, pair.now);
  pair.sender.append(stream(), {kSource, 0, 25, 0}, true);
  pair.pump();
  std::vector<std::uint64_t> told;
  for (const Outgoing& o : std::exchange(pair.down, {})) {
    pair.deliver_down(o);
    pair.pump();
    for (const Outgoing& reply : std::exchange(pair.up, {})) {
      told.push_back(std::get<Got>(reply.message).upto);
    }
  }
  EXPECT_EQ(told, (std::vector<std::uint64_t>{10, 20, 25}));
}

TEST(StreamsTest, WaitsForRoomRatherThanSendCrumbs) {
  Pair pair(100);
  pair.sender.send(stream(), kReceiver, 15, 0, pair.now);
  pair.sender.append(stream(), {kSource, 0, 100, 0}, true);
  pair.pump();
  ASSERT_EQ(pair.down.size(), 1U);
  pair.down.clear();
  pair.sender.on(kReceiver, Got{stream(), 10}, pair.now);
  pair.pump();
  ASSERT_EQ(pair.down.size(), 1U);
  EXPECT_EQ(pair.down[0].payload.size(), 10U);
}

TEST(StreamsTest, AWindowSmallerThanAChunkStillMoves) {
  Pair pair(100, {.chunk_bytes = 10, .window_bytes = 3, .keep_bytes = 0});
  pair.receiver.receive(stream(), kSender, kTarget, 100, true, pair.now);
  pair.sender.send(stream(), kReceiver, 0, 0, pair.now);
  pair.sender.append(stream(), {kSource, 0, 100, 0}, true);
  pair.settle();
  EXPECT_TRUE(pair.complete());
}

TEST(StreamsTest, BytesGoOnlyWhereTheirSenderMayWrite) {
  Pair pair(100);
  pair.receiver.receive(stream(), kSender, kTarget, 30, false, pair.now, {{20, 20}, {60, 10}});
  std::memset(pair.receiver.buffer(kTarget).data(), 0, 100);
  pair.sender.send(stream(), kReceiver, 100, 0, pair.now);
  pair.sender.append(stream(), {kSource, 0, 20, 20}, false);
  pair.sender.append(stream(), {kSource, 20, 5, 65}, false);
  pair.settle();
  EXPECT_EQ(pair.arrived->upto, 25U);
  EXPECT_EQ(pair.brokens, 0);
  pair.sender.append(stream(), {kSource, 30, 5, 66}, true);  // One byte too far.
  pair.pump();
  for (const Outgoing& o : std::exchange(pair.down, {})) pair.deliver_down(o);
  pair.pump();
  EXPECT_EQ(pair.brokens, 1);
  EXPECT_EQ(pair.arrived->upto, 25U);
  EXPECT_EQ(pair.receiver.buffer(kTarget).data()[70], std::byte{0});
}

TEST(StreamsTest, ABufferMayBeALaterPartOfWhatTheSenderNames) {
  Pair pair(30);
  pair.receiver.receive(stream(), kSender, kTarget, 30, false, pair.now, {}, {}, 500);
  pair.sender.send(stream(), kReceiver, 40, 0, pair.now);
  EXPECT_TRUE(pair.sender.append(stream(), Piece{kSource, 0, 30, 500}, true));
  pair.settle();
  EXPECT_TRUE(pair.complete());
  // Neither what lies before it nor what lies behind.
  for (const std::uint64_t at : {0, 499, 501}) {
    Pair other(30);
    other.receiver.receive(stream(), kSender, kTarget, 30, false, other.now, {}, {}, 500);
    other.sender.send(stream(), kReceiver, 40, 0, other.now);
    EXPECT_TRUE(other.sender.append(stream(), Piece{kSource, 0, 30, at}, true));
    other.settle();
    EXPECT_FALSE(other.complete()) << at;
    EXPECT_GE(other.brokens, 1) << at;
  }
}

TEST(StreamsTest, ALazyBufferIsMappedForReadersOnly) {
  Pair pair(50);
  int maps = 0;
  std::vector<std::byte> memory(50);
  const Buffer mapped(std::shared_ptr<std::byte>(memory.data(), [](std::byte*) {}), 50);
  pair.receiver.adopt(
      kTarget, LazyBuffer{50,
                          [&] {
                            ++maps;
                            return mapped;
                          },
                          [&](std::uint64_t offset, std::span<const std::byte> source) {
                            std::memcpy(memory.data() + offset, source.data(), source.size());
                            return true;
                          }});
  EXPECT_EQ(pair.receiver.buffered_bytes(), 50U);
  pair.receiver.receive(stream(), kSender, kTarget, 50, false, pair.now);
  pair.sender.send(stream(), kReceiver, 100, 0, pair.now);
  pair.sender.append(stream(), {kSource, 0, 50, 0}, true);
  pair.settle();
  EXPECT_TRUE(pair.arrived->whole);
  EXPECT_EQ(maps, 0);
  EXPECT_EQ(pair.receiver.copied_bytes(), 50U);
  EXPECT_TRUE(same(pair.sender.buffer(kSource), pair.receiver.buffer(kTarget)));
  EXPECT_EQ(maps, 1);
  EXPECT_EQ(pair.receiver.mapped_bytes(), 50U);
  pair.receiver.release(kTarget);
  EXPECT_EQ(pair.receiver.buffered_bytes(), 0U);
}

TEST(StreamsTest, ABufferThatCannotBeWrittenToIsTold) {
  Pair pair(50);
  pair.receiver.release(kTarget);
  pair.receiver.adopt(kTarget,
                      LazyBuffer{50, [] { return Buffer{}; },
                                 [](std::uint64_t, std::span<const std::byte>) { return false; }});
  pair.receiver.receive(stream(), kSender, kTarget, 50, false, pair.now);
  pair.sender.send(stream(), kReceiver, 100, 0, pair.now);
  pair.sender.append(stream(), {kSource, 0, 50, 0}, true);
  pair.settle();
  EXPECT_GE(pair.unwritables, 1);
  EXPECT_FALSE(pair.arrived);
  EXPECT_EQ(pair.receiver.copied_bytes(), 0U);
}

TEST(StreamsTest, StreamsOfAPeerTakeTurns) {
  Pair pair(100);
  for (std::uint64_t shard : {1, 2, 3}) {
    pair.sender.send(stream(shard), kReceiver, 20, 0, pair.now);
    pair.sender.append(stream(shard), {kSource, 0, 100, 0}, true);
  }
  pair.pump();
  std::vector<std::uint64_t> order;
  for (const Outgoing& o : pair.down) order.push_back(put_in(o).stream.shard.value);
  EXPECT_EQ(order, (std::vector<std::uint64_t>{1, 2, 3, 1, 2, 3}));
}

TEST(StreamsTest, PutsPiecesWhereTheyBelong) {
  Pair pair(30);
  pair.receiver.receive(stream(), kSender, kTarget, 30, false, pair.now);
  pair.sender.send(stream(), kReceiver, 100, 0, pair.now);
  pair.sender.append(stream(), {kSource, 20, 10, 20}, false);
  pair.sender.append(stream(), {kSource, 0, 4, 0}, false);
  pair.settle();
  EXPECT_EQ(pair.arrived->upto, 14U);
  EXPECT_FALSE(pair.arrived->whole);
  EXPECT_EQ(pair.sents, 0);
  pair.sender.append(stream(), {kSource, 4, 16, 4}, true);
  pair.settle();
  EXPECT_TRUE(pair.complete());
  EXPECT_EQ(pair.sents, 1);
}

TEST(StreamsTest, JoinsPiecesThatLieTogether) {
  Pair pair(30);
  pair.sender.send(stream(), kReceiver, 100, 0, pair.now);
  for (std::uint64_t i = 0; i < 30; i += 2) {
    pair.sender.append(stream(), {kSource, i, 2, i}, i == 28);
  }
  pair.pump();
  EXPECT_EQ(pair.down.size(), 3U);
}

TEST(StreamsTest, AnEmptyStreamIsWholeAtOnce) {
  Pair pair(0);
  pair.receiver.receive(stream(), kSender, kTarget, 0, true, pair.now);
  pair.sender.send(stream(), kReceiver, 0, 0, pair.now);
  pair.sender.append(stream(), {}, true);
  pair.settle();
  ASSERT_TRUE(pair.arrived);
  EXPECT_TRUE(pair.arrived->whole);
  EXPECT_EQ(pair.arrivals, 1);
  EXPECT_EQ(pair.sents, 1);
}

// --------------------------------------------------------------------------------------- faults

TEST(StreamsTest, AsksAgainOnceForAGap) {
  Pair pair(60);
  pair.receiver.receive(stream(), kSender, kTarget, 60, false, pair.now);
  pair.sender.send(stream(), kReceiver, 40, 0, pair.now);
  pair.sender.append(stream(), {kSource, 0, 60, 0}, true);
  pair.pump();
  ASSERT_EQ(pair.down.size(), 4U);
  pair.deliver_down(pair.down[0]);
  pair.pump();
  pair.up.clear();  // The first chunk's Got.
  pair.deliver_down(pair.down[2]);
  pair.pump();
  pair.deliver_down(pair.down[3]);
  pair.pump();
  pair.down.clear();
  ASSERT_EQ(pair.up.size(), 1U);
  const Want want = std::get<Want>(pair.up[0].message);
  EXPECT_EQ(want.from, 10U);
  EXPECT_TRUE(want.again);
  pair.settle();
  EXPECT_TRUE(pair.complete());
}

TEST(StreamsTest, DropsWhatCameAlreadyAndSaysSo) {
  Pair pair(20);
  pair.receiver.receive(stream(), kSender, kTarget, 20, false, pair.now);
  pair.sender.send(stream(), kReceiver, 40, 0, pair.now);
  pair.sender.append(stream(), {kSource, 0, 20, 0}, true);
  pair.pump();
  const std::deque<Outgoing> puts = pair.down;
  pair.settle();
  pair.receiver.buffer(kTarget).data()[0] = std::byte{99};
  pair.deliver_down(puts[0]);
  pair.pump();
  EXPECT_EQ(pair.receiver.buffer(kTarget).data()[0], std::byte{99});
  ASSERT_EQ(pair.up.size(), 1U);
  EXPECT_EQ(std::get<Got>(pair.up[0].message).upto, 20U);
  EXPECT_EQ(pair.arrivals, 1);
}

TEST(StreamsTest, TakesTheNewPartOfAPutThatOverlaps) {
  Pair pair(20);
  pair.receiver.receive(stream(), kSender, kTarget, 20, false, pair.now);
  const Buffer source = pair.sender.buffer(kSource);
  pair.receiver.on(kSender, Put{stream(), 0, 0}, source.slice(0, 10).bytes(), pair.now);
  pair.receiver.on(kSender, Put{stream(), 5, 5}, source.slice(5, 15).bytes(), pair.now);
  pair.pump();
  EXPECT_TRUE(pair.complete());
}

TEST(StreamsTest, RewindsWhenAskedTo) {
  Pair pair(20);
  pair.receiver.receive(stream(), kSender, kTarget, 20, false, pair.now);
  pair.sender.send(stream(), kReceiver, 40, 0, pair.now);
  pair.sender.append(stream(), {kSource, 0, 20, 0}, true);
  pair.settle();
  EXPECT_EQ(pair.sents, 1);
  pair.sender.on(kReceiver, Want{stream(), 0, 40, true}, pair.now);
  pair.pump();
  ASSERT_EQ(pair.down.size(), 2U);
  EXPECT_EQ(put_in(pair.down[0]).offset, 0U);
  pair.settle();
  EXPECT_EQ(pair.sents, 2) << "the sender tells that the second sending arrived, too";
}

TEST(StreamsTest, AsksAgainForWhatIsExpectedAndSilent) {
  Pair pair(20);
  pair.receiver.receive(stream(), kSender, kTarget, 20, false, pair.now);
  EXPECT_EQ(pair.receiver.next_deadline(), std::nullopt) << "nothing is known to be sent";
  pair.receiver.expect(stream(), 15, pair.now);
  EXPECT_EQ(pair.receiver.next_deadline(), pair.now + seconds{1});
  std::vector<Duration> asked;
  for (TimePoint end = pair.now + seconds{40}; pair.now < end; pair.now += milliseconds{100}) {
    pair.pump();
    for (const Outgoing& o : std::exchange(pair.up, {})) {
      EXPECT_TRUE(std::get<Want>(o.message).again);
      asked.push_back(pair.now.time_since_epoch());
    }
  }
  EXPECT_EQ(asked, (std::vector<Duration>{seconds{1}, seconds{3}, seconds{7}, seconds{15},
                                          seconds{23}, seconds{31}, seconds{39}}));
}

TEST(StreamsTest, ASenderWithoutAnswerShowsWhereItStands) {
  Pair pair(20);
  pair.receiver.receive(stream(), kSender, kTarget, 20, false, pair.now);
  pair.sender.send(stream(), kReceiver, 40, 0, pair.now);
  pair.sender.append(stream(), {kSource, 0, 20, 0}, true);
  pair.pump();
  pair.down.clear();  // All lost.
  ASSERT_TRUE(pair.sender.next_deadline());
  pair.now = *pair.sender.next_deadline();
  pair.pump();
  ASSERT_EQ(pair.down.size(), 1U);
  EXPECT_TRUE(pair.down[0].payload.empty());
  EXPECT_EQ(put_in(pair.down[0]).offset, 20U);
  pair.settle();
  EXPECT_TRUE(pair.complete());
  EXPECT_EQ(pair.sents, 1);
}

TEST(StreamsTest, ALostLastGotIsSaidAgain) {
  Pair pair(20);
  pair.receiver.receive(stream(), kSender, kTarget, 20, false, pair.now);
  pair.sender.send(stream(), kReceiver, 40, 0, pair.now);
  pair.sender.append(stream(), {kSource, 0, 20, 0}, true);
  pair.pump();
  for (const Outgoing& o : std::exchange(pair.down, {})) pair.deliver_down(o);
  pair.pump();
  pair.up.clear();  // Lost.
  EXPECT_EQ(pair.sents, 0);
  pair.now = *pair.sender.next_deadline();
  pair.settle();
  EXPECT_EQ(pair.sents, 1);
  EXPECT_TRUE(pair.complete());
}

TEST(StreamsTest, AClosedStreamFencesOffItsWriter) {
  Pair pair(20);
  pair.receiver.receive(stream(), kSender, kTarget, 20, false, pair.now);
  pair.sender.send(stream(), kReceiver, 40, 0, pair.now);
  pair.sender.append(stream(), {kSource, 0, 20, 0}, true);
  pair.pump();
  std::memset(pair.receiver.buffer(kTarget).data(), 0, 20);
  pair.receiver.close(stream());
  for (const Outgoing& o : std::exchange(pair.down, {})) pair.deliver_down(o);
  pair.pump();
  EXPECT_TRUE(pair.up.empty());
  EXPECT_EQ(pair.arrivals, 0);
  EXPECT_EQ(pair.receiver.buffer(kTarget).data()[1], std::byte{0});
  EXPECT_EQ(pair.receiver.next_deadline(), std::nullopt);
  pair.sender.close(stream());
  pair.pump();
  EXPECT_EQ(pair.sender.next_deadline(), std::nullopt);
}

TEST(StreamsTest, OthersThanThePeerAreNotHeard) {
  Pair pair(20);
  pair.receiver.receive(stream(), kSender, kTarget, 20, false, pair.now);
  const Buffer source = pair.sender.buffer(kSource);
  pair.receiver.on(PeerId{77}, Put{stream(), 0, 0}, source.slice(0, 10).bytes(), pair.now);
  pair.sender.send(stream(), kReceiver, 10, 0, pair.now);
  pair.sender.append(stream(), {kSource, 0, 20, 0}, true);
  pair.sender.on(PeerId{77}, Got{stream(), 20}, pair.now);
  pair.sender.on(PeerId{77}, Want{stream(), 0, 1000, true}, pair.now);
  pair.pump();
  EXPECT_EQ(pair.arrivals, 0);
  EXPECT_EQ(pair.sents, 0);
  EXPECT_EQ(pair.down.size(), 1U);
}

TEST(StreamsTest, NonsenseIsDropped) {
  Pair pair(20);
  pair.receiver.receive(stream(), kSender, kTarget, 20, false, pair.now);
  const Buffer bytes = pair.sender.buffer(kSource);
  const std::uint64_t huge = std::numeric_limits<std::uint64_t>::max();
  pair.receiver.on(kSender, Put{stream(), 0, huge}, bytes.slice(0, 10).bytes(), pair.now);
  pair.receiver.on(kSender, Put{stream(), 0, 11}, bytes.slice(0, 10).bytes(), pair.now);
  pair.receiver.on(kSender, Put{stream(), huge, 0}, bytes.slice(0, 10).bytes(), pair.now);
  pair.receiver.on(kSender, Put{stream(), 11, 0}, bytes.slice(0, 10).bytes(), pair.now);
  pair.receiver.on(kSender, Put{stream(9), 0, 0}, bytes.slice(0, 10).bytes(), pair.now);
  pair.sender.send(stream(), kReceiver, 0, 0, pair.now);
  pair.sender.append(stream(), {kSource, 0, 20, 0}, true);
  pair.sender.on(kReceiver, Got{stream(), 21}, pair.now);
  pair.sender.on(kReceiver, Got{stream(9), 1}, pair.now);
  pair.sender.on(kReceiver, Want{stream(), 21, 100, true}, pair.now);
  pair.sender.on(kReceiver, Want{stream(9), 0, 100, true}, pair.now);
  pair.pump();
  EXPECT_TRUE(pair.down.empty());
  EXPECT_TRUE(pair.up.empty());
  EXPECT_EQ(pair.arrivals + pair.sents, 0);
}

TEST(StreamsTest, ContinuesFromANewPeerWhereItStood) {
  Pair pair(60);
  pair.receiver.receive(stream(), kSender, kTarget, 60, true, pair.now);
  pair.sender.send(stream(), kReceiver, 20, 0, pair.now);
  pair.sender.append(stream(), {kSource, 0, 60, 0}, true);
  pair.pump();
  for (const Outgoing& o : std::exchange(pair.down, {})) pair.deliver_down(o);
  pair.pump();
  pair.up.clear();
  pair.receiver.forget_peer(kSender);
  pair.sender.forget_peer(kReceiver);
  pair.pump();
  EXPECT_TRUE(pair.down.empty() && pair.up.empty());

  const PeerId sender_again{101};
  const PeerId receiver_again{102};
  pair.receiver.receive(stream(), sender_again, kTarget, 60, true, pair.now);
  pair.sender.send(stream(), receiver_again, 0, 0, pair.now);
  std::vector<std::uint64_t> offsets;
  for (int i = 0; i < 20; ++i) {
    std::vector<Outgoing> out;
    std::vector<StreamEvent> events;
    pair.receiver.pump(pair.now, out, events);
    for (const Outgoing& o : std::exchange(out, {})) {
      EXPECT_EQ(o.peer, sender_again);
      if (const auto* want = std::get_if<Want>(&o.message)) {
        pair.sender.on(receiver_again, *want, pair.now);
      } else {
        pair.sender.on(receiver_again, std::get<Got>(o.message), pair.now);
      }
    }
    pair.sender.pump(pair.now, out, events);
    for (const Outgoing& o : out) {
      EXPECT_EQ(o.peer, receiver_again);
      offsets.push_back(put_in(o).offset);
      pair.receiver.on(sender_again, put_in(o), o.payload.bytes(), pair.now);
    }
  }
  EXPECT_EQ(offsets, (std::vector<std::uint64_t>{20, 30, 40, 50}));
  EXPECT_TRUE(same(pair.sender.buffer(kSource), pair.receiver.buffer(kTarget)));
}

TEST(StreamsTest, SendsAgainWhatTheTransportHadNoRoomFor) {
  Pair pair(30);
  pair.receiver.receive(stream(), kSender, kTarget, 30, true, pair.now);
  pair.sender.send(stream(), kReceiver, 30, 0, pair.now);
  pair.sender.append(stream(), {kSource, 0, 30, 0}, true);
  pair.pump();
  ASSERT_EQ(pair.down.size(), 3U);
  pair.deliver_down(pair.down[0]);
  pair.sender.unsent(pair.down[1], pair.now);
  pair.sender.unsent(pair.down[2], pair.now);
  pair.receiver.unsent(pair.up[0], pair.now);
  pair.down.clear();
  pair.up.clear();
  pair.pump();
  EXPECT_TRUE(pair.down.empty() && pair.up.empty()) << "not before the pause is over";
  EXPECT_EQ(pair.sender.next_deadline(), pair.now + milliseconds{2});
  pair.now += milliseconds{2};
  pair.pump();
  ASSERT_EQ(pair.down.size(), 2U);
  EXPECT_EQ(put_in(pair.down[0]).offset, 10U);
  ASSERT_EQ(pair.up.size(), 1U);
  EXPECT_TRUE(std::holds_alternative<Want>(pair.up[0].message));
  pair.settle();
  EXPECT_TRUE(pair.complete());
}

TEST(StreamsTest, ABufferLivesWhileAStreamNeedsIt) {
  Pair pair(30);
  const Buffer source = pair.sender.buffer(kSource);
  pair.receiver.receive(stream(), kSender, kTarget, 30, true, pair.now);
  pair.sender.send(stream(), kReceiver, 0, 0, pair.now);
  pair.sender.append(stream(), {kSource, 0, 30, 0}, true);
  EXPECT_EQ(pair.sender.buffered_bytes(), 30U);
  pair.sender.release(kSource);
  EXPECT_EQ(pair.sender.buffered_bytes(), 0U);
  const Buffer target = pair.receiver.buffer(kTarget);
  pair.receiver.release(kTarget);
  pair.settle();
  EXPECT_TRUE(pair.arrived->whole);
  EXPECT_TRUE(same(source, target));
}

TEST(StreamsTest, SurvivesLossDoublingAndReordering) {
  for (unsigned seed = 1; seed <= 200; ++seed) {
    BadLine line(seed);
    Pair pair(997);
    pair.receiver.receive(stream(), kSender, kTarget, 997, seed % 2 == 0, pair.now);
    pair.sender.send(stream(), kReceiver, 40, 0, pair.now);
    std::uint64_t appended = 0;
    for (int turn = 0; turn < 5000 && !(pair.complete() && pair.sents > 0); ++turn) {
      if (appended < 997) {
        const std::uint64_t bytes = std::min<std::uint64_t>(997 - appended, 1 + line.random() % 60);
        pair.sender.append(stream(), {kSource, appended, bytes, appended}, appended + bytes == 997);
        appended += bytes;
      }
      pair.pump();
      line.pass(pair);
    }
    EXPECT_TRUE(pair.complete()) << "seed " << seed;
    EXPECT_GT(pair.sents, 0) << "seed " << seed;
  }
}

TEST(StreamsTest, SaysWhenThereIsNoMemory) {
  Streams streams(kOptions);
  const Status status = streams.allocate(BufferId{1}, std::uint64_t{1} << 50);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, Code::kOverloaded);
  EXPECT_TRUE(streams.buffer(BufferId{1}).empty());
}

}  // namespace
}  // namespace pa
