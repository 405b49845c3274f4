/// Requests that arrive at random at a cluster of unequal devices: by measured cost, and first come first served by
/// equal weights. The coordinator, the workers and the protocol are the real ones; devices, network and time are
/// simulated, so figures do not depend on what else this box does.
///
///   poisson_bench [REQUESTS [SEED]]

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>

#include "coordinator/core/level.h"
#include "tests/support/sim_cluster.h"

namespace pa {
namespace {

using namespace std::chrono_literals;

struct Arrival {
  double at = 0;
  SimCluster::Job job;
};

/// Steps a second that all devices do together, with full batches.
double capacity(const std::vector<SimCompute::Speed>& speeds) {
  double rate = 0;
  for (const SimCompute::Speed& speed : speeds) {
    rate += static_cast<double>(speed.max_rows) /
            to_seconds(speed.fixed + speed.per_row * speed.max_rows);
  }
  return rate;
}

/// Mixed requests: mostly small, some large; `load` of what the devices can do.
std::vector<Arrival> arrivals(int count, double load, double steps_a_second, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<Arrival> all;
  double work = 0;
  for (int i = 0; i < count; ++i) {
    Arrival arrival;
    const bool is_large = std::uniform_int_distribution<>(0, 9)(random) == 0;
    arrival.job.samples = is_large ? std::uniform_int_distribution<>(16, 32)(random)
                                   : std::uniform_int_distribution<>(1, 4)(random);
    arrival.job.steps = std::uniform_int_distribution<>(8, 30)(random);
    work += static_cast<double>(arrival.job.samples * arrival.job.steps);
    all.push_back(arrival);
  }
  std::exponential_distribution<> gap(load * steps_a_second * count / work);
  double at = 0;
  for (Arrival& arrival : all) arrival.at = at += gap(random);
  return all;
}

/// Seconds from arrival to the result, of each.
std::vector<double> latencies(const std::vector<SimCompute::Speed>& speeds,
                              const std::vector<Arrival>& arrivals, Scheduling scheduling) {
  SimCluster::Options options;
  options.workers = 0;
  options.coordinator.max_requests = 4096;
  SimCluster sim(options);
  for (const SimCompute::Speed& speed : speeds) sim.add_worker(1, speed);
  sim.advance(1s);
  (void)sim.submit({.samples = 16, .steps = 20, .scheduling = scheduling});  // To learn from.
  if (!sim.run_until_idle(1h)) std::abort();
  const TimePoint begin = sim.now();
  std::vector<RequestId> requests;
  for (const Arrival& arrival : arrivals) {
    const TimePoint at = begin + from_seconds(arrival.at);
    if (at > sim.now()) sim.advance(at - sim.now());
    SimCluster::Job job = arrival.job;
    job.scheduling = scheduling;
    requests.push_back(sim.submit(job));
  }
  if (!sim.run_until_idle(10h)) std::abort();
  std::vector<double> seconds;
  for (const RequestId& request : requests) {
    const Result<Outcome>* const reply = sim.reply(request);
    if (reply == nullptr || !reply->ok()) std::abort();
    seconds.push_back((*reply)->done.seconds);
  }
  std::sort(seconds.begin(), seconds.end());
  return seconds;
}

double at_part(const std::vector<double>& sorted, double part) {
  return sorted[std::min(sorted.size() - 1,
                         static_cast<std::size_t>(part * static_cast<double>(sorted.size())))];
}

int compare(int argc, char** argv) {
  const int count = argc > 1 ? std::atoi(argv[1]) : 1000;
  const std::uint64_t seed = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1;
  const std::vector<std::pair<const char*, std::vector<SimCompute::Speed>>> clusters{
      {"two, 10 and 25 ms a row", {{5ms, 10ms, 8}, {5ms, 25ms, 8}}},
      {"four, 10, 10, 26, 80 ms", {{5ms, 10ms, 8}, {5ms, 10ms, 8}, {5ms, 26ms, 8}, {5ms, 80ms, 8}}},
  };
  std::printf(
      "| devices | load | equal weights: p50 / p99, s | measured: p50 / p99, s | p50 ratio | p99 "
      "ratio |\n"
      "|---|---|---|---|---|---|\n");
  for (const auto& [name, speeds] : clusters) {
    for (const double load : {0.5, 0.8}) {
      const std::vector<Arrival> all = arrivals(count, load, capacity(speeds), seed);
      const std::vector<double> equal = latencies(speeds, all, Scheduling::kStatic);
      const std::vector<double> measured = latencies(speeds, all, Scheduling::kMeasured);
      std::printf("| %s | %.0f %% | %.2f / %.1f | %.2f / %.1f | %.2f | %.2f |\n", name, 100 * load,
                  at_part(equal, 0.5), at_part(equal, 0.99), at_part(measured, 0.5),
                  at_part(measured, 0.99), at_part(measured, 0.5) / at_part(equal, 0.5),
                  at_part(measured, 0.99) / at_part(equal, 0.99));
      std::fflush(stdout);
    }
  }
  return 0;
}

}  // namespace
}  // namespace pa

int main(int argc, char** argv) { return pa::compare(argc, argv); }
