// Conditioning goes over each link once, not with every shard and every request.

#include <gtest/gtest.h>

#include "tests/support/sim_cluster.h"

namespace pa {
namespace {

using namespace std::chrono_literals;

constexpr std::int64_t kFloats = 1 << 19;
constexpr std::uint64_t kBytes = kFloats * sizeof(float);  // 2 MiB: more than comes unasked.
constexpr std::uint64_t kSmall = 256 << 10;                // All that is not conditioning.

SimCluster::Options options_of(std::uint64_t seed) {
  SimCluster::Options options;
  options.seed = seed;
  options.workers = 2;
  options.worker_blob_bytes = 8 * kBytes;
  options.credit_samples = 1;
  options.speed.max_rows = 1;  // A shard a sample.
  return options;
}

SimCluster::Job prompt(std::uint64_t seed, std::int64_t samples = 12) {
  return {.samples = samples, .condition_floats = kFloats, .seed = seed};
}

void expect_right(SimCluster& sim, const RequestId& request) {
  ASSERT_TRUE(sim.run_until_idle(10min)) << sim.describe();
  ASSERT_TRUE(sim.reply(request)->ok()) << sim.reply(request)->error().message;
  EXPECT_TRUE(sim.result_is_right(request));
}

TEST(Blobs, AWorkerIsSentAPromptOnce) {
  SimCluster sim(options_of(1));
  sim.advance(1s);
  expect_right(sim, sim.submit(prompt(7)));
  EXPECT_GT(sim.notes<note::ShardAssigned>().size(), 4U);
  EXPECT_GE(sim.sent_by_coordinator(), 2 * kBytes);
  EXPECT_LT(sim.sent_by_coordinator(), 2 * kBytes + kSmall);
}

TEST(Blobs, WithoutAStoreItComesWithEveryShard) {
  SimCluster::Options options = options_of(2);
  options.worker_blob_bytes = 0;
  SimCluster sim(options);
  sim.advance(1s);
  expect_right(sim, sim.submit(prompt(7)));
  EXPECT_GE(sim.sent_by_coordinator(), sim.notes<note::ShardAssigned>().size() * kBytes);
}

TEST(Blobs, TheNextRequestOfAPromptSendsNothing) {
  SimCluster sim(options_of(3));
  sim.advance(1s);
  expect_right(sim, sim.submit(prompt(7)));
  const std::uint64_t sent = sim.sent_by_coordinator();
  const std::uint64_t received = sim.received_by_coordinator();
  EXPECT_GE(received, kBytes);
  expect_right(sim, sim.submit(prompt(7)));
  EXPECT_LT(sim.sent_by_coordinator(), sent + kSmall);
  EXPECT_LT(sim.received_by_coordinator(), received + kSmall);
  expect_right(sim, sim.submit(prompt(8)));
  EXPECT_GE(sim.received_by_coordinator(), received + kBytes) << "another prompt is another";
}

TEST(Blobs, AStoreThatIsTooSmallCostsNothingButBytes) {
  SimCluster::Options options = options_of(4);
  options.worker_blob_bytes = kBytes;  // One of two prompts.
  options.coordinator.blob_bytes = kBytes / 2;
  SimCluster sim(options);
  sim.advance(1s);
  const RequestId first = sim.submit(prompt(7));
  const RequestId second = sim.submit(prompt(8));
  expect_right(sim, first);
  expect_right(sim, second);
}

TEST(Blobs, ARestartedWorkerIsSentThemAnew) {
  SimCluster sim(options_of(5));
  sim.advance(1s);
  const RequestId request = sim.submit(prompt(7, 40));
  sim.advance(300ms);
  sim.restart_worker(0);
  expect_right(sim, request);
  EXPECT_LE(sim.sent_by_coordinator(), 4 * kBytes);
}

TEST(Blobs, ARestartedCoordinatorGoesOnWithWhatWorkersHave) {
  SimCluster sim(options_of(6));
  sim.advance(1s);
  const RequestId request = sim.submit(prompt(7, 40));
  sim.advance(500ms);
  sim.restart_coordinator();
  expect_right(sim, request);
}

TEST(Blobs, SurviveABadNetworkAndKills) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SimCluster::Options options = options_of(seed);
    options.network.loss = 0.03;
    options.network.doubling = 0.03;
    options.network.jitter = 20ms;
    options.worker_blob_bytes = seed % 2 == 0 ? 8 * kBytes : 3 * kBytes / 2;
    SimCluster sim(options);
    sim.advance(1s);
    std::vector<RequestId> requests;
    for (std::uint64_t i = 0; i < 4; ++i) requests.push_back(sim.submit(prompt(i % 2, 6)));
    sim.advance(Duration(seed * 100ms));
    sim.restart_worker(seed % 2);
    sim.advance(Duration(seed * 100ms));
    if (seed % 3 == 0) sim.restart_coordinator();
    for (const RequestId& request : requests) expect_right(sim, request);
  }
}

}  // namespace
}  // namespace pa
