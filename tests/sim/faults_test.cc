// Random faults from a seed: messages lost, doubled, late and out of order, processes killed, stopped and restarted.
// Whatever happens, every request ends, and every result that is delivered is right.

#include <gtest/gtest.h>

#include <cstdlib>
#include <random>
#include <string>

#include "tests/support/sim_cluster.h"

namespace pa {
namespace {

using namespace std::chrono_literals;

/// How often each kind of fault strikes, in a run of many requests.
struct Weather {
  double loss = 0;
  double doubling = 0;
  bool reordering = false;
  Duration jitter{};
  double kills_per_second = 0;
  double stops_per_second = 0;
  double coordinator_kills_per_second = 0;
  double client_kills_per_second = 0;
  double stalls_per_second = 0;
  double sharing = 0;  ///< Part of the handed memory that arrives; 0: nobody shares any.
};

/// PA_SIM_SEEDS=A..B runs other seeds than the few of every run.
std::pair<std::uint64_t, std::uint64_t> seeds() {
  const char* text = std::getenv("PA_SIM_SEEDS");
  if (text == nullptr) return {1, 12};
  const std::string range = text;
  const std::size_t dots = range.find("..");
  return {std::stoull(range.substr(0, dots)),
          std::stoull(range.substr(dots == std::string::npos ? 0 : dots + 2))};
}

void run_through(const Weather& weather, std::uint64_t seed) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  const auto chance = [&](double probability) {
    return std::uniform_real_distribution<>(0, 1)(random) < probability;
  };
  const auto below = [&](std::uint64_t limit) { return random() % limit; };

  SimCluster::Options options;
  options.seed = seed;
  options.workers = 3;
  options.network.loss = weather.loss;
  options.network.doubling = weather.doubling;
  options.network.reordering = weather.reordering;
  options.network.jitter = weather.jitter;
  options.network.sharing = weather.sharing;
  options.network.chunk_bytes = 1 << 12;
  options.streams.chunk_bytes = 1 << 12;
  options.streams.window_bytes = 1 << 14;
  // Faults here kill far more often than any real cluster's.
  options.coordinator.strikes = 12;
  options.credit_samples = 6;
  options.durable_journal = seed % 2 == 0;
  SimCluster sim(options);
  sim.advance(5s);

  std::vector<RequestId> requests;
  std::set<RequestId> abandoned;
  std::vector<bool> stopped(3, false);
  constexpr double kTick = 0.05;
  for (int tick = 0; tick < 400; ++tick) {
    if (chance(0.1)) {
      SimCluster::Job job;
      job.samples = static_cast<std::int64_t>(1 + below(9));
      job.op = chance(0.5) ? Operation::kForward : Operation::kSample;
      job.steps = static_cast<int>(1 + below(10));
      job.row_floats = static_cast<std::int64_t>(1 + below(5000));
      requests.push_back(sim.submit(job));
    }
    const std::size_t victim = below(3);
    if (chance(weather.kills_per_second * kTick)) {
      sim.restart_worker(victim);
      stopped[victim] = false;
    }
    if (chance(weather.stops_per_second * kTick)) {
      stopped[victim] = !stopped[victim];
      sim.stop_worker(victim, stopped[victim]);
    }
    if (chance(weather.stalls_per_second * kTick)) {
      sim.stall_worker(victim, from_seconds(0.1 * static_cast<double>(1 + below(150))));
    }
    if (chance(weather.coordinator_kills_per_second * kTick)) sim.restart_coordinator();
    if (!requests.empty() && chance(weather.client_kills_per_second * kTick)) {
      const RequestId request = requests[below(requests.size())];
      sim.kill_client(request);
      abandoned.insert(request);
    }
    sim.advance(50ms);
  }
  for (std::size_t i = 0; i < stopped.size(); ++i) {
    if (stopped[i]) sim.stop_worker(i, false);
  }
  ASSERT_TRUE(sim.run_until_idle(std::chrono::minutes{20})) << "a request hangs\n"
                                                            << sim.describe();
  for (const RequestId& request : requests) {
    if (abandoned.contains(request)) continue;
    ASSERT_NE(sim.reply(request), nullptr);
    if (sim.reply(request)->ok()) {
      EXPECT_TRUE(sim.result_is_right(request)) << to_string(request);
    } else {
      // Only a cluster without any worker at the moment of admission may refuse.
      EXPECT_EQ(sim.reply(request)->error().code, Code::kUnavailable)
          << sim.reply(request)->error().message;
    }
  }
  // Nothing is left behind but what vanished clients may still come for.
  sim.advance(std::chrono::minutes{11});
  EXPECT_EQ(sim.coordinator_bytes(), 0u);
  EXPECT_TRUE(sim.coordinator().status(sim.now()).requests.empty());
}

constexpr Weather kEverything{.loss = 0.02,
                              .doubling = 0.02,
                              .reordering = true,
                              .jitter = 5ms,
                              .kills_per_second = 0.2,
                              .stops_per_second = 0.2,
                              .coordinator_kills_per_second = 0.05,
                              .client_kills_per_second = 0.2,
                              .stalls_per_second = 1};

void run_all(const Weather& weather) {
  const auto [first, last] = seeds();
  for (std::uint64_t seed = first; seed <= last && !::testing::Test::HasFatalFailure(); ++seed)
    run_through(weather, seed);
}

TEST(FaultsSim, CalmSeaNeedsNoLuck) { run_all({}); }

TEST(FaultsSim, MessagesGetLost) { run_all({.loss = 0.05, .jitter = 2ms}); }

TEST(FaultsSim, MessagesAreDoubledAndOvertakeEachOther) {
  run_all({.doubling = 0.1, .reordering = true, .jitter = 20ms});
}

TEST(FaultsSim, WorkersDieAndStop) { run_all({.kills_per_second = 0.5, .stops_per_second = 0.5}); }

TEST(FaultsSim, DevicesStall) { run_all({.stalls_per_second = 3}); }

TEST(FaultsSim, DevicesStallAndMessagesGetLost) {
  run_all({.loss = 0.05,
           .doubling = 0.02,
           .reordering = true,
           .jitter = 5ms,
           .kills_per_second = 0.1,
           .stalls_per_second = 3,
           .sharing = 0.5});
}

TEST(FaultsSim, CoordinatorDies) { run_all({.coordinator_kills_per_second = 0.2}); }

TEST(FaultsSim, SharedMemoryIsNotAlwaysThere) {
  run_all({.loss = 0.02,
           .jitter = 2ms,
           .kills_per_second = 0.3,
           .stops_per_second = 0.3,
           .coordinator_kills_per_second = 0.05,
           .sharing = 0.8});
}

TEST(FaultsSim, EverythingAtOnce) { run_all(kEverything); }

TEST(FaultsSim, EverythingAtOnceWithSharedMemory) {
  Weather weather = kEverything;
  weather.sharing = 0.9;
  run_all(weather);
}

}  // namespace
}  // namespace pa
