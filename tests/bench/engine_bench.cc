/// What a worker's compute costs: the demo network by rows, and what the engine adds to a network.
/// One thread.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <chrono>
#include <numeric>
#include <vector>

#include "tests/support/paths.h"
#include "tests/support/shards.h"
#include "worker/engine/brownian.h"
#include "worker/engine/engine.h"
#include "worker/engine/noise.h"
#include "worker/engine/row_math.h"
#include "worker/models/model_store.h"
#include "worker/models/noop.h"
#include "worker/models/replica.h"

namespace pa {
namespace {

const Shape kFluxLatent{16, 128, 128};  // Of a picture of 1024 x 1024.

double median(std::vector<double>& values) {
  std::nth_element(values.begin(), values.begin() + std::ssize(values) / 2, values.end());
  return values[values.size() / 2];
}

/// The demo model and noop, on one thread.
ModelStore& models() {
  static ModelStore* const kStore = [] {
    at::set_num_threads(1);
    auto* store = new ModelStore();
    if (!store->load(test::source_path("config/models")).ok()) std::abort();
    Replica noop;
    noop.info.name = "noop";
    noop.info.family = "noop";
    noop.network = std::make_unique<Noop>();
    store->add(std::move(noop));
    return store;
  }();
  return *kStore;
}

void digits_forward(benchmark::State& state) {
  const c10::InferenceMode guard;
  Replica& digits = *models().find("digits");
  const std::int64_t n = state.range(0);
  Rows rows;
  rows.x = at::randn({n, 1, 8, 8});
  rows.sigma = at::full({n}, 0.5);
  for (const auto& [name, input] : digits.labels.at("3")) {
    Shape shape = input.sizes().vec();
    shape[0] = n;
    rows.inputs[name] = input.expand(shape);
  }
  for (auto _ : state) benchmark::DoNotOptimize(digits.network->forward(rows));
  state.SetItemsProcessed(state.iterations() * n);
}
BENCHMARK(digits_forward)->Arg(1)->Arg(2)->Arg(4)->Arg(8)->Arg(16)->Arg(32)->UseRealTime();

/// Whole samples of 20 steps: what the engine adds to digits_forward.
void digits_samples(benchmark::State& state) {
  Request body;
  body.model = "digits";
  body.samples = state.range(0);
  body.schedule = ScheduleSpec{};
  body.labels.assign(static_cast<std::size_t>(body.samples), "3");
  const ShardJob job = test::make_job(1, body, {1, 8, 8}, test::first_samples(body.samples));
  Engine engine(models(), {});
  for (auto _ : state) {
    engine.add(job);
    benchmark::DoNotOptimize(test::run(engine));
  }
  state.SetItemsProcessed(state.iterations() * body.samples);
}
BENCHMARK(digits_samples)->Arg(1)->Arg(8)->UseRealTime();

/// Passes of 8 rows of FLUX latents through noop, 20 steps each: what the engine does around the
/// network. `outside_ms`: a pass, without Network::forward. The mean has the last pass in, which makes the
/// results.
void passes_of_flux_latents(benchmark::State& state) {
  Request body;
  body.model = "noop";
  body.samples = 8;
  body.schedule = ScheduleSpec{};
  body.sampler.name = state.range(0) == 0 ? "euler" : "dpmpp_2m";
  body.noise = NoiseKind::kKeyed;
  const ShardJob job = test::make_job(1, body, kFluxLatent, test::first_samples(8));
  Engine engine(models(), {});
  std::vector<double> outside;
  std::vector<EngineReport> reports;
  for (auto _ : state) {
    engine.add(job);
    while (!engine.idle()) engine.pass(reports);
    for (const EngineReport& report : reports) {
      if (const auto* pass = std::get_if<PassDone>(&report)) {
        if (pass->rows != 8) continue;  // While start noise was being made.
        outside.push_back(pass->seconds - pass->network_seconds);
      }
    }
    reports.clear();
  }
  state.SetLabel(body.sampler.name);
  const double sum = std::accumulate(outside.begin(), outside.end(), 0.0);
  state.counters["mean_outside_ms"] = sum / static_cast<double>(outside.size()) * 1e3;
  state.counters["median_outside_ms"] = median(outside) * 1e3;
}
BENCHMARK(passes_of_flux_latents)->Arg(0)->Arg(1)->Unit(benchmark::kMillisecond)->UseRealTime();

/// Where 8 samples of FLUX latents stand, written down once between two passes. At one checkpoint in
/// 5 s of computing, `of_5_s` is the part of a device's time that it takes.
void checkpoints_of_flux_latents(benchmark::State& state) {
  Request body;
  body.model = "noop";
  body.samples = 8;
  body.schedule = ScheduleSpec{"simple", 1000, 1.0};
  body.sampler.name = "dpmpp_2m";
  body.noise = NoiseKind::kKeyed;
  Engine engine(models(), {});
  std::vector<EngineReport> reports;
  engine.add(test::make_job(1, body, kFluxLatent, test::first_samples(8)));
  engine.settle(reports);
  for (int i = 0; i < 4; ++i) engine.pass(reports);
  double cost = 0;
  std::int64_t saved = 0;
  for (auto _ : state) {
    reports.clear();
    for (std::int64_t sample = 0; sample < 8; ++sample) engine.save(ShardId{1}, sample);
    while (std::none_of(reports.begin(), reports.end(), [](const EngineReport& report) {
      return std::holds_alternative<SampleSaved>(report);
    })) {
      engine.pass(reports);
    }
    for (const EngineReport& report : reports) {
      if (const auto* one = std::get_if<SampleSaved>(&report)) {
        cost += one->cost_seconds;
        ++saved;
      }
    }
  }
  const double of_eight = 8 * cost / static_cast<double>(std::max<std::int64_t>(saved, 1));
  state.counters["of_eight_ms"] = 1e3 * of_eight;
  state.counters["of_5_s"] = of_eight / 5;
}
BENCHMARK(checkpoints_of_flux_latents)->Iterations(50)->Unit(benchmark::kMillisecond);

/// One request through the engine over as many bare passes of the network, in turns. `overhead`: the
/// ratio of the medians.
void overhead_of_one_request(benchmark::State& state) {
  const c10::InferenceMode guard;
  const std::int64_t samples = state.range(0);
  constexpr int kSteps = 20;
  Replica& digits = *models().find("digits");
  Rows rows;
  rows.x = at::randn({samples, 1, 8, 8});
  rows.sigma = at::full({samples}, 0.5);
  rows.level = rows.sigma;
  for (const auto& [name, input] : digits.labels.at("3")) {
    Shape shape = input.sizes().vec();
    shape[0] = samples;
    rows.inputs[name] = input.expand(shape).contiguous();
  }
  Request body;
  body.model = "digits";
  body.samples = samples;
  body.schedule = ScheduleSpec{"simple", kSteps, 1.0};
  body.labels.assign(static_cast<std::size_t>(samples), "3");
  const ShardJob job = test::make_job(1, body, {1, 8, 8}, test::first_samples(samples));
  Engine engine(models(), {});
  std::vector<double> bare;
  std::vector<double> whole;
  std::vector<EngineReport> reports;
  const auto timed = [](auto run) {
    const auto start = std::chrono::steady_clock::now();
    run();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  for (auto _ : state) {
    bare.push_back(timed([&] {
      for (int i = 0; i < kSteps; ++i) benchmark::DoNotOptimize(digits.network->forward(rows));
    }));
    whole.push_back(timed([&] {
      engine.add(job);
      while (!engine.idle()) engine.pass(reports);
    }));
    reports.clear();
  }
  state.counters["overhead"] = median(whole) / median(bare);
}
BENCHMARK(overhead_of_one_request)->Arg(1)->Arg(8)->UseRealTime();

/// A shard through noop: what moving bytes through the engine costs.
void noop_forward(benchmark::State& state) {
  Request body;
  body.op = Operation::kForward;
  body.model = "noop";
  body.samples = 8;
  const ShardJob job = test::make_job(1, body, {state.range(0), 1024, 256}, test::first_samples(8),
                                      {{"x", at::zeros({8, state.range(0), 1024, 256})}});
  Engine engine(models(), {});
  std::vector<EngineReport> reports;
  for (auto _ : state) {
    reports.clear();
    engine.add(job);
    engine.pass(reports);
    if (!engine.idle()) state.SkipWithError("more than one pass");
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(job.inputs.size()));
}
BENCHMARK(noop_forward)->ArgName("MiB a row")->Arg(1)->Arg(8)->UseRealTime();

/// The update of one euler step of one FLUX latent.
void update_of_a_flux_latent(benchmark::State& state) {
  const at::Tensor slots = at::zeros({2, kFluxLatent[0], kFluxLatent[1], kFluxLatent[2]});
  const std::vector<Update> updates{{0, {{0, 0.75}, {1, 0.25}}}};
  for (auto _ : state) update_slots(slots, updates);
}
BENCHMARK(update_of_a_flux_latent);

// Noise of one FLUX latent of a batch of 21, on one thread. What a worker with `n` of them makes at every step takes
// n times as long.

void keyed_noise_of_a_flux_latent(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(keyed_noise(42, kFluxLatent, 20, 5));
}
BENCHMARK(keyed_noise_of_a_flux_latent)->Unit(benchmark::kMillisecond);

/// As ComfyUI draws it, at the given step: what comes before is passed over.
void comfy_noise_of_a_flux_latent(benchmark::State& state) {
  const NoisePlace place{kFluxLatent, 21, 20};
  for (auto _ : state) benchmark::DoNotOptimize(comfy_noise(42, place, state.range(0)));
}
BENCHMARK(comfy_noise_of_a_flux_latent)
    ->ArgName("draw")
    ->Arg(0)
    ->Arg(19)
    ->Unit(benchmark::kMillisecond);

/// A step of FLUX's schedule, of a Brownian tree.
void brownian_noise_of_a_flux_latent(benchmark::State& state) {
  const NoisePlace place{kFluxLatent, 21, 20};
  const BrownianTree tree(42, 0.14F, 0.9999F);
  for (auto _ : state) benchmark::DoNotOptimize(tree.noise(0.759511F, 0.512844F, place));
}
BENCHMARK(brownian_noise_of_a_flux_latent)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace pa

BENCHMARK_MAIN();
