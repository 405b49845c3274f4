/// Requests that arrive at random, served by the engine step by step, or one after the other to the
/// end: latency and throughput at several loads.
///
/// The engine is the real one; the network is noop, and time is a number: a pass over n rows takes
/// what the device would take. So figures do not depend on what else this box does. The digits
/// model's costs are measured first.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <functional>
#include <map>
#include <random>

#include "tests/support/paths.h"
#include "tests/support/shards.h"
#include "worker/engine/engine.h"
#include "worker/models/model_store.h"
#include "worker/models/noop.h"
#include "worker/models/replica.h"

namespace pa {
namespace {

constexpr std::int64_t kMaxRows = 8;
constexpr std::uint64_t kRequests = 3000;
const Shape kRow{1, 8, 8};

/// Seconds of a pass by its rows.
using Cost = std::function<double(std::int64_t)>;

struct Arrival {
  double at = 0;
  ShardJob job;
};

std::vector<Arrival> arrivals(double rate, std::uint32_t seed) {
  std::mt19937 random(seed);
  const auto pick = [&](int low, int high) {
    return std::uniform_int_distribution<int>(low, high)(random);
  };
  static const std::vector<std::string> kSamplers{"euler", "dpmpp_2m", "res_multistep", "heun"};
  std::vector<Arrival> list;
  double now = 0;
  for (std::uint64_t id = 1; id <= kRequests; ++id) {
    now += std::exponential_distribution<double>(rate)(random);
    Request body;
    body.model = "noop";
    body.samples = pick(1, 4);
    body.noise = NoiseKind::kKeyed;
    body.seed = id;
    body.sampler.name = kSamplers[static_cast<std::size_t>(pick(0, 3))];
    body.schedule = ScheduleSpec{"simple", pick(0, 9) == 0 ? 50 : pick(4, 20), 1.0};
    body.guidance.cfg = pick(0, 2) == 0 ? 4.0 : 1.0;
    list.push_back({now, test::make_job(id, body, kRow, test::first_samples(body.samples))});
  }
  return list;
}

struct Served {
  std::vector<double> latencies;
  double end = 0;

  [[nodiscard]] double percentile(double part) {
    const auto index =
        static_cast<std::ptrdiff_t>(part * static_cast<double>(latencies.size() - 1));
    std::nth_element(latencies.begin(), latencies.begin() + index, latencies.end());
    return latencies[static_cast<std::size_t>(index)];
  }
  [[nodiscard]] double throughput() const { return static_cast<double>(latencies.size()) / end; }
};

/// one_by_one: a request begins when the one before it has ended.
Served serve(ModelStore& store, const std::vector<Arrival>& list, const Cost& cost,
             bool one_by_one) {
  Engine engine(store, {.max_rows = kMaxRows});
  Served served;
  std::map<std::uint64_t, std::int64_t> left;
  std::size_t next = 0;
  double now = 0;
  std::vector<EngineReport> reports;
  while (next < list.size() || !engine.idle()) {
    if (engine.idle()) now = std::max(now, list[next].at);
    while (next < list.size() && list[next].at <= now && (!one_by_one || engine.idle())) {
      left[list[next].job.shard.value] = std::ssize(list[next].job.samples);
      engine.add(list[next].job);
      ++next;
    }
    reports.clear();
    engine.settle(reports);  // Noise takes real time, of which there is none here.
    engine.pass(reports);
    for (const EngineReport& report : reports) {
      if (const auto* pass = std::get_if<PassDone>(&report)) now += cost(pass->rows);
    }
    for (const EngineReport& report : reports) {
      const auto* finished = std::get_if<RowsFinished>(&report);
      if (finished == nullptr) continue;
      const std::uint64_t id = finished->shard.value;
      if ((left[id] -= std::ssize(finished->samples)) > 0) continue;
      served.latencies.push_back(now - list[id - 1].at);
    }
  }
  served.end = now - list.front().at;
  return served;
}

/// What a request takes alone, on the average.
double mean_service(ModelStore& store, const Cost& cost) {
  std::vector<Arrival> list = arrivals(1.0, 1);
  for (Arrival& arrival : list) arrival.at = 0;
  return serve(store, list, cost, true).end / static_cast<double>(list.size());
}

void compare(ModelStore& store, const std::string& device, const Cost& cost) {
  const double service = mean_service(store, cost);
  for (const double load : {0.5, 0.8, 0.95}) {
    const std::vector<Arrival> list = arrivals(load / service, 7);
    Served whole = serve(store, list, cost, true);
    Served steps = serve(store, list, cost, false);
    std::printf(
        "| %s | %.0f %% | %.3g / %.3g | %.3g / %.3g | %.2f | %.2f | %.3f |\n", device.c_str(),
        load * 100, whole.percentile(0.5), whole.percentile(0.99), steps.percentile(0.5),
        steps.percentile(0.99), steps.percentile(0.5) / whole.percentile(0.5),
        steps.percentile(0.99) / whole.percentile(0.99), steps.throughput() / whole.throughput());
  }
}

/// Medians of passes of the demo network over 1 to kMaxRows rows.
Cost cost_of_digits(ModelStore& store) {
  const c10::InferenceMode guard;
  Replica& digits = *store.find("digits");
  std::vector<double> seconds{0};
  for (std::int64_t n = 1; n <= kMaxRows; ++n) {
    Rows rows;
    rows.x = at::randn({n, 1, 8, 8});
    rows.sigma = at::full({n}, 0.5);
    rows.level = rows.sigma;
    for (const auto& [name, input] : digits.labels.at("3")) {
      Shape shape = input.sizes().vec();
      shape[0] = n;
      rows.inputs[name] = input.expand(shape).contiguous();
    }
    std::vector<double> times;
    for (int i = 0; i < 101; ++i) {
      const auto start = std::chrono::steady_clock::now();
      if (!digits.network->forward(rows).ok()) std::abort();
      times.push_back(
          std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    std::nth_element(times.begin(), times.begin() + 20, times.end());
    seconds.push_back(times[20]);
  }
  return [seconds](std::int64_t rows) { return seconds[static_cast<std::size_t>(rows)]; };
}

void run() {
  at::set_num_threads(1);
  ModelStore store;
  if (!store.load(test::source_path("config/models")).ok()) std::abort();
  Replica noop;
  noop.info.name = "noop";
  noop.info.family = "noop";
  noop.network = std::make_unique<Noop>();
  store.add(std::move(noop));
  std::printf(
      "| device | load | to the end: p50 / p99 s | step by step: p50 / p99 s | p50 ratio | p99 "
      "ratio | throughput ratio |\n|---|---|---|---|---|---|---|\n");
  compare(store, "digits on this CPU", cost_of_digits(store));
  compare(store, "sim 5ms+10ms",
          [](std::int64_t n) { return 0.005 + 0.010 * static_cast<double>(n); });
  compare(store, "sim 20ms+5ms",
          [](std::int64_t n) { return 0.020 + 0.005 * static_cast<double>(n); });
}

}  // namespace
}  // namespace pa

int main() { pa::run(); }
