// Samples and shards: who gets what, and what becomes of what comes back.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/coordinator/coordinator_harness.h"

namespace pa {
namespace {

using namespace std::chrono_literals;
using test::CoordinatorHarness;
using test::sample_request;
using ::testing::HasSubstr;

/// From w1, of a shard of its: samples that failed.
SamplesDone failed(ShardId shard, const std::vector<std::int64_t>& samples, const Error& error) {
  SamplesDone done;
  done.shard = shard;
  for (const std::int64_t sample : samples) {
    SampleReport& report = done.samples.emplace_back();
    report.sample = sample;
    report.failed = true;
    report.error = error;
  }
  return done;
}

TEST(CoordinatorWork, SplitsByWeightAndMergesInOrder) {
  CoordinatorHarness h;
  h.join(1, 70);
  h.join(2, 30);
  h.submit(1, 21);
  ASSERT_EQ(h.assigns(1).size(), 1u);
  ASSERT_EQ(h.assigns(2).size(), 1u);
  EXPECT_EQ(h.assigns(1)[0].samples.size(), 15u);
  EXPECT_EQ(h.assigns(2)[0].samples.size(), 6u);
  EXPECT_EQ(h.assigns(2)[0].samples.front(), 15);

  h.deliver_all(2, h.assigns(2)[0]);
  EXPECT_EQ(h.last<Done>(), nullptr);
  h.deliver_all(1, h.assigns(1)[0]);
  ASSERT_NE(h.last<Done>(), nullptr);
  EXPECT_FALSE(h.last<Done>()->failed);
  ASSERT_EQ(h.last<Done>()->samples.size(), 21u);
  EXPECT_EQ(h.last<Done>()->samples[14].worker, "w1");
  EXPECT_EQ(h.last<Done>()->samples[15].worker, "w2");
  EXPECT_EQ(h.last<Done>()->result_bytes, 21u * 16);

  // Merging is placing: every sample's bytes go to the client from, and to, its own place.
  std::vector<bool> placed(21, false);
  for (const Action& action : h.actions) {
    const auto* append = std::get_if<action::Append>(&action);
    if (append == nullptr || append->stream.kind != StreamKind::kRequestResult) continue;
    EXPECT_EQ(append->piece.offset, append->piece.at);
    for (std::uint64_t row = append->piece.at / 16;
         row < (append->piece.at + append->piece.bytes) / 16; ++row) {
      EXPECT_FALSE(placed[row]);
      placed[row] = true;
    }
  }
  EXPECT_THAT(placed, ::testing::Each(true));
}

TEST(CoordinatorWork, ShipsEachWorkerItsRowsOnly) {
  CoordinatorHarness h;
  h.join(1, 1);
  h.join(2, 1);
  h.submit(1, 4);
  std::vector<Piece> pieces;
  for (const Action& action : h.actions) {
    const auto* append = std::get_if<action::Append>(&action);
    if (append != nullptr && append->stream.kind == StreamKind::kShardInput)
      pieces.push_back(append->piece);
  }
  ASSERT_EQ(pieces.size(), 2u);
  EXPECT_EQ(pieces[0].offset, 0u);
  EXPECT_EQ(pieces[0].bytes, 32u);
  EXPECT_EQ(pieces[1].offset, 32u);
  EXPECT_EQ(pieces[1].at, 0u);
  EXPECT_EQ(h.assigns(2)[0].tensors[0].shape, (Shape{2, 4}));
}

TEST(CoordinatorWork, HoldsNoMoreSamplesOnAWorkerThanItsCredit) {
  CoordinatorHarness h;
  h.join(1, 1, /*credit=*/4);
  h.submit(1, 10);
  ASSERT_EQ(h.assigns(1).size(), 1u);
  EXPECT_EQ(h.assigns(1)[0].samples.size(), 4u);
  h.deliver(1, h.assigns(1)[0], 0, 3);
  ASSERT_EQ(h.assigns(1).size(), 2u);
  EXPECT_EQ(h.assigns(1)[1].samples, (std::vector<std::int64_t>{4, 5, 6}));
}

TEST(CoordinatorWork, FailsASampleThatKeepsGettingLost) {
  CoordinatorOptions options;
  options.max_attempts = 2;
  CoordinatorHarness h(options);
  h.join(1, 1);
  h.submit(1, 1);
  h.feed(event::PeerGone{PeerId{101}});
  h.join(2, 1);
  ASSERT_EQ(h.assigns(2).size(), 1u);
  h.feed(event::PeerGone{PeerId{102}});
  ASSERT_NE(h.last<Done>(), nullptr);
  EXPECT_EQ(h.last<Done>()->error.code, Code::kWorkerLost);
  EXPECT_THAT(h.last<Done>()->error.message, HasSubstr("lost 2 times"));
}

TEST(CoordinatorWork, ASampleThatFailsDoesNotTakeTheOthersAlong) {
  CoordinatorHarness h;
  h.join(1, 1);
  h.submit(1, 3);
  const Assign assign = h.assigns(1)[0];
  h.feed(
      event::FromWorker{PeerId{201}, true, failed(assign.shard, {1}, internal("NaN at step 3"))});
  EXPECT_EQ(h.last<Done>(), nullptr) << "the others run on";
  Assign others = assign;
  others.samples = {0, 2};
  h.deliver_all(1, others);
  ASSERT_NE(h.last<Done>(), nullptr);
  EXPECT_FALSE(h.last<Done>()->failed);
  EXPECT_FALSE(h.last<Done>()->samples[0].failed);
  EXPECT_TRUE(h.last<Done>()->samples[1].failed);
  EXPECT_EQ(h.last<Done>()->samples[1].error.message, "NaN at step 3");
}

TEST(CoordinatorWork, ARequestWhoseSamplesAllFailFailsWithTheFirstOnesReason) {
  CoordinatorHarness h;
  h.join(1, 1);
  h.submit(1, 3);
  h.feed(event::FromWorker{PeerId{201}, true,
                           failed(h.assigns(1)[0].shard, {0, 1, 2}, internal("NaN at step 3"))});
  ASSERT_NE(h.last<Done>(), nullptr);
  EXPECT_TRUE(h.last<Done>()->failed);
  EXPECT_THAT(h.last<Done>()->error.message, HasSubstr("sample 0 on w1: NaN at step 3"));
}

TEST(CoordinatorWork, ARequestThatAWorkerCannotRunFailsAtOnce) {
  CoordinatorHarness h;
  h.join(1, 1);
  h.submit(1, 3);
  h.feed(event::FromWorker{PeerId{201}, true,
                           failed(h.assigns(1)[0].shard, {1}, invalid("no such label"))});
  ASSERT_NE(h.last<Done>(), nullptr);
  EXPECT_TRUE(h.last<Done>()->failed);
  EXPECT_THAT(h.last<Done>()->error.message, HasSubstr("sample 1 on w1: no such label"));
}

TEST(CoordinatorWork, PassesPreviewsOfOpenSamplesOn) {
  CoordinatorHarness h;
  h.join(1, 1);
  h.join(2, 1);
  const RequestId request = h.submit(1, 2);
  SamplePreview preview;
  preview.shard = h.assigns(1)[0].shard;
  preview.sample = h.assigns(1)[0].samples[0];
  preview.step = 4;
  preview.width = 2;
  preview.height = 1;
  preview.rgb = {1, 2, 3, 4, 5, 6};
  h.feed(event::FromWorker{PeerId{202}, true, preview});  // Not its shard.
  EXPECT_EQ(h.last<SamplePreview>(), nullptr);
  SamplePreview wrong = preview;
  wrong.width = 3;
  h.feed(event::FromWorker{PeerId{201}, true, wrong});
  EXPECT_EQ(h.last<SamplePreview>(), nullptr);
  h.feed(event::FromWorker{PeerId{201}, true, preview});
  ASSERT_NE(h.last<SamplePreview>(), nullptr);
  EXPECT_EQ(h.last<SamplePreview>()->request, request);
  EXPECT_EQ(h.last<SamplePreview>()->rgb, preview.rgb);
}

TEST(CoordinatorWork, WhoseFileOfALoraDiffersGetsNoneOfItsRequests) {
  CoordinatorHarness h;
  for (std::uint64_t n = 1; n <= 3; ++n) {
    Hello hello;
    hello.boot = n;
    hello.name = "w" + std::to_string(n);
    ModelInfo model;
    model.name = "noop";
    model.family = "noop";
    model.identity = "sha256:0";
    model.loras = {{"style", n == 2 ? "sha256:2" : "sha256:1"}};
    hello.models = {model};
    h.feed(event::FromWorker{PeerId{100 + n}, false, hello, ""});
    h.feed(event::FromWorker{PeerId{200 + n}, true, Attach{h.last<Welcome>()->worker, n}, ""});
  }
  Submit submit;
  submit.request = RequestId{0, 1};
  Request request = sample_request(64);
  request.loras = {{"style", 1.0}};
  h.feed(event::Submitted{PeerId{1}, submit, request});
  h.feed(event::Journaled{submit.request, {}, {}});
  for (int i = 0; i < 100; ++i) h.advance(1ms);
  EXPECT_FALSE(h.assigns(1).empty());
  EXPECT_TRUE(h.assigns(2).empty());
  EXPECT_FALSE(h.assigns(3).empty());
}

/// Assigns that go out in the step in which a request of 168 samples can begin, on 64 workers.
std::size_t assigned_at_once(double seconds_a_pass) {
  constexpr std::int64_t kWorkers = 64;
  CoordinatorHarness h;
  for (std::int64_t n = 1; n <= kWorkers; ++n) {
    WorkerProgress progress;
    progress.worker = h.join(static_cast<std::uint64_t>(n), 1, 8);
    for (const std::int64_t rows : {1, 2, 4})
      progress.passes.push_back({"noop", {1, 1, 4}, rows, 5, 5 * seconds_a_pass, true});
    h.feed(event::FromWorker{PeerId{static_cast<std::uint64_t>(100 + n)}, false, progress});
  }
  Submit submit;
  submit.request = RequestId{0, 1};
  h.feed(event::Submitted{PeerId{1}, submit, test::sample_request(168)});
  h.feed(event::Journaled{submit.request, event::Journaled::What::kRequest, {}});
  std::size_t assigned = 0;
  for (std::uint64_t n = 1; n <= kWorkers; ++n) assigned += h.assigns(n).size();
  return assigned;
}

TEST(CoordinatorWork, ManyDevicesAreGivenShortSamplesWithoutThinkingLong) {
  EXPECT_GE(assigned_at_once(1e-4), 64U);
  EXPECT_EQ(assigned_at_once(1), 0U) << "which schedule is best is worth a moment";
}

}  // namespace
}  // namespace pa
