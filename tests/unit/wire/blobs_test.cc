#include "shared/wire/blobs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/wire/stream_pair.h"

namespace pa {
namespace {

using test::BadLine;
using test::kReceiver;
using test::kSender;
using test::kSource;
using test::kTarget;
using test::Pair;
using test::stream;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

/// What a receiver had before is filled in, as by whoever opens its stream.
void fill_in(Pair& pair, const std::vector<Range>& have) {
  for (const Range& range : have) {
    ASSERT_TRUE(pair.receiver.write(
        kTarget, range.offset,
        pair.sender.buffer(kSource).bytes().subspan(range.offset, range.bytes)));
  }
}

void open(Pair& pair, std::uint64_t bytes, const std::vector<Range>& have, std::uint64_t window) {
  fill_in(pair, have);
  pair.sender.send(stream(), kReceiver, window, 0, pair.now);
  pair.sender.append(stream(), {kSource, 0, bytes, 0}, true);
  pair.receiver.receive(stream(), kSender, kTarget, bytes, true, pair.now, {}, have);
}

TEST(BlobsTest, WhatIsThereIsNotSent) {
  Pair pair(95);
  open(pair, 95, {{0, 20}, {33, 30}, {90, 5}}, 0);
  pair.settle();
  EXPECT_TRUE(pair.complete());
  EXPECT_EQ(pair.sents, 1);
  EXPECT_EQ(pair.sender.sent_bytes(), 95U - 20 - 30 - 5);
  EXPECT_EQ(pair.receiver.copied_bytes(), 95U - 20 - 30 - 5);
}

TEST(BlobsTest, AStreamThatIsThereIsWholeAtOnce) {
  Pair pair(95);
  open(pair, 95, {{0, 95}}, 0);
  pair.settle();
  EXPECT_TRUE(pair.complete());
  EXPECT_EQ(pair.arrivals, 1);
  EXPECT_EQ(pair.sents, 1);
  EXPECT_EQ(pair.sender.sent_bytes(), 0U);
}

TEST(BlobsTest, WhatIsSentNeverthelessDoesNoHarm) {
  Pair pair(95);
  fill_in(pair, {{10, 50}});
  pair.sender.send(stream(), kReceiver, 40, 0, pair.now);  // Eager, as one that knows no blobs.
  pair.sender.append(stream(), {kSource, 0, 95, 0}, true);
  pair.pump();
  EXPECT_EQ(pair.down.size(), 4U);
  pair.receiver.receive(stream(), kSender, kTarget, 95, true, pair.now, {}, {{10, 50}});
  pair.settle();
  EXPECT_TRUE(pair.complete());
  EXPECT_EQ(pair.brokens, 0);
}

TEST(BlobsTest, ALargeBlobDoesNotBlockTheWindow) {
  Pair pair(200);
  open(pair, 200, {{10, 100}}, 0);  // More than twice the window.
  pair.settle();
  EXPECT_TRUE(pair.complete());
  EXPECT_EQ(pair.sender.sent_bytes(), 100U);
}

TEST(BlobsTest, RangesOutOfOrderAreNonsense) {
  Pair pair(95);
  pair.sender.send(stream(), kReceiver, 0, 0, pair.now);
  pair.sender.append(stream(), {kSource, 0, 95, 0}, true);
  for (const std::vector<Range>& have :
       {std::vector<Range>{{50, 10}, {40, 5}}, std::vector<Range>{{0, 10}, {5, 10}},
        std::vector<Range>{{90, 6}}, std::vector<Range>{{96, 0}},
        std::vector<Range>{{1, ~std::uint64_t{0}}}, std::vector<Range>(kMostRanges + 1)}) {
    pair.sender.on(kReceiver, Want{stream(), 0, 40, false, have}, pair.now);
    pair.pump();
    EXPECT_THAT(pair.down, IsEmpty());
  }
}

TEST(BlobsTest, SurviveLossDoublingAndReordering) {
  for (unsigned seed = 1; seed <= 200; ++seed) {
    BadLine line(seed);
    std::vector<Range> have;
    std::uint64_t had = 0;
    for (std::uint64_t at = line.random() % 100; at < 997;) {
      const std::uint64_t bytes = std::min<std::uint64_t>(997 - at, line.random() % 150);
      have.push_back({at, bytes});
      had += bytes;
      at += bytes + line.random() % 100;
    }
    Pair pair(997);
    open(pair, 997, have, seed % 2 == 0 ? 40 : 0);
    for (int turn = 0; turn < 5000 && !(pair.complete() && pair.sents > 0); ++turn) {
      pair.pump();
      line.pass(pair);
    }
    EXPECT_TRUE(pair.complete()) << "seed " << seed;
    EXPECT_GT(pair.sents, 0) << "seed " << seed;
    EXPECT_LE(pair.receiver.copied_bytes(), 997 - had + 40) << "seed " << seed;
  }
}

TEST(BlobsTest, AreFoundInTheStreamOfTheirTensors) {
  const std::vector<TensorSpec> tensors{{"a", DType::kU8, {10}},
                                        {"b", DType::kF32, {2, 3}},
                                        {"c", DType::kU8, {5}},
                                        {"d", DType::kU8, {0}},
                                        {"e", DType::kU8, {7}}};
  EXPECT_THAT(ranges_here(tensors, {true, false, true, true, true}),
              ElementsAre(Range{0, 10}, Range{34, 12}));
  EXPECT_THAT(ranges_here(tensors, {false, true}), ElementsAre(Range{10, 24}));
  EXPECT_THAT(ranges_here(tensors, {}), IsEmpty());
}

}  // namespace
}  // namespace pa
