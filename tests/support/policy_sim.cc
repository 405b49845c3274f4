#include "tests/support/policy_sim.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "coordinator/core/rehearsal.h"
#include "tests/support/chrome_trace.h"

namespace pa {
namespace {

constexpr double kInfinite = std::numeric_limits<double>::infinity();
constexpr int kCheckpointSteps = 3;  // A lost sample goes on from a multiple of it.

struct Cost {
  double fixed = 0;
  double per_row = 0;
  [[nodiscard]] double operator()(std::int64_t rows) const {
    return fixed + per_row * static_cast<double>(rows);
  }
};

double uniform(std::mt19937_64& random, double low, double high) {
  return std::uniform_real_distribution<>(low, high)(random);
}

/// Real costs, and what is learned of them pass by pass.
class World : public LevelWorld {
 public:
  World(std::vector<Cost> costs, double jitter, std::uint64_t seed, ChromeTrace* trace)
      : costs_(std::move(costs)),
        seen_(costs_.size()),
        jitter_(jitter),
        random_(seed),
        trace_(trace) {}

  double pass_seconds(int device, std::int64_t rows) override {
    const double part = jitter_ * std::normal_distribution<>(0, 1)(random_);
    return costs_[static_cast<std::size_t>(device)](rows) * std::exp(part);
  }
  void pass_ended(LevelDevice& device, int index, std::int64_t rows, double seconds) override {
    const double surprise = seconds / device.cost(rows);
    const int seen = ++seen_[static_cast<std::size_t>(index)];
    const double weight =
        std::abs(std::log(surprise)) > 0.3 ? 0.5 : std::max(0.1, 1 / (seen + 0.75));
    device.cost.fixed *= 1 + weight * (surprise - 1);
    device.cost.per_row *= 1 + weight * (surprise - 1);
  }
  LevelSetting choose(const LevelSnapshot& snapshot, const LevelSetting& setting) override {
    return choose_setting(snapshot, setting);
  }
  void trace(int device, double begin, double end, const std::vector<int>& rows) override {
    if (trace_ == nullptr) return;
    std::string samples;
    for (const int j : rows) samples += (samples.empty() ? "" : " ") + std::to_string(j);
    trace_->add("device " + std::to_string(device), std::to_string(rows.size()) + " rows", begin,
                end, samples);
  }
  void slow_down(int device, double factor) {
    costs_[static_cast<std::size_t>(device)].fixed *= factor;
    costs_[static_cast<std::size_t>(device)].per_row *= factor;
  }

 private:
  std::vector<Cost> costs_;
  std::vector<int> seen_;
  double jitter_;
  std::mt19937_64 random_;
  ChromeTrace* trace_;
};

std::vector<LevelDevice> devices_of(const std::vector<Cost>& costs, std::int64_t limit) {
  std::vector<LevelDevice> devices;
  for (const Cost& cost : costs) devices.push_back({{cost.fixed, cost.per_row, {}}, limit, 0, {}});
  return devices;
}

double best_alone(const std::vector<Cost>& costs, std::int64_t limit, std::int64_t samples,
                  int steps) {
  double best = kInfinite;
  for (const Cost& cost : costs) {
    double time = 0;
    for (std::int64_t k = 0; k < samples; k += limit) time += cost(std::min(limit, samples - k));
    best = std::min(best, time * steps);
  }
  return best;
}

/// Breaks of what must hold whatever the cluster.
std::string problem_of(const LevelSnapshot& snapshot, double finish) {
  if (!std::isfinite(finish)) return "it never ends";
  for (std::size_t j = 0; j < snapshot.samples.size(); ++j) {
    if (snapshot.samples[j].left != 0)
      return "sample " + std::to_string(j) + " has " + std::to_string(snapshot.samples[j].left) +
             " steps left";
  }
  return {};
}

}  // namespace

std::vector<PolicyCase> policy_cases(Mishap mishap) {
  std::vector<PolicyCase> cases;
  for (const Batch batch : {Batch::kMany, Batch::kSome, Batch::kFew}) {
    for (const double ratio : {0.1, 0.5}) {
      for (const std::int64_t limit : {1, 8, 32}) {
        PolicyCase one;
        one.batch = batch;
        one.ratio = ratio;
        one.limit = limit;
        one.mishap = mishap;
        cases.push_back(one);
      }
    }
  }
  return cases;
}

std::string name_of(const PolicyCase& c) {
  const char* batch = c.batch == Batch::kMany   ? "N>=4D"
                      : c.batch == Batch::kSome ? "D<=N<4D"
                                                : "N<D";
  return std::string(batch) + " a/c " + (c.ratio < 0.3 ? "0.1" : "0.5") + " M " +
         std::to_string(c.limit);
}

PolicyRun run_policy(const PolicyCase& c, std::uint64_t seed, std::string* trace) {
  std::mt19937_64 random(seed * 1000003 + static_cast<std::uint64_t>(c.limit) * 10007 +
                         static_cast<std::uint64_t>(c.ratio * 100) * 101 +
                         static_cast<std::uint64_t>(c.batch));
  const auto count = std::lround(std::exp(uniform(random, std::log(2), std::log(64))));
  std::vector<Cost> costs;
  for (long i = 0; i < count; ++i) {
    const double per_row = std::exp(uniform(random, 0, std::log(20))) / (1 + c.ratio);
    costs.push_back({c.ratio * per_row, per_row});
  }
  const std::int64_t low = c.batch == Batch::kMany   ? 4 * count
                           : c.batch == Batch::kSome ? count
                                                     : 1;
  const std::int64_t high = c.batch == Batch::kMany   ? 8 * count
                            : c.batch == Batch::kSome ? 4 * count - 1
                                                      : count - 1;
  const auto samples = std::uniform_int_distribution<std::int64_t>(low, high)(random);

  PolicyRun run;
  run.devices = static_cast<int>(count);
  run.samples = samples;
  std::vector<LevelDevice> real = devices_of(costs, c.limit);
  double bound = makespan_bound(real, samples, c.steps);
  const double alone = best_alone(costs, c.limit, samples, c.steps);

  std::vector<int> by_speed(costs.size());
  std::iota(by_speed.begin(), by_speed.end(), 0);
  std::stable_sort(by_speed.begin(), by_speed.end(), [&](int a, int b) {
    return costs[static_cast<std::size_t>(a)].per_row < costs[static_cast<std::size_t>(b)].per_row;
  });
  const int victim = by_speed[by_speed.size() / 2];
  const auto changed_rate = [&](double factor) {  // Of all, with the victim changed; 0: without it.
    std::vector<Cost> changed = costs;
    auto& cost = changed[static_cast<std::size_t>(victim)];
    cost = {cost.fixed * std::max(factor, 1.0), cost.per_row * std::max(factor, 1.0)};
    std::vector<LevelDevice> devices = devices_of(changed, c.limit);
    if (factor == 0) devices[static_cast<std::size_t>(victim)].limit = 0;
    return makespan_bound(devices, samples, c.steps);
  };
  const double at = c.mishap == Mishap::kLate ? bound / 4 : bound / 2;
  if (c.mishap == Mishap::kSlow) bound = at + changed_rate(3) / 2;
  if (c.mishap == Mishap::kLost) bound = at + changed_rate(0) / 2;
  // What the others do until it joins is done; the rest goes at the full rate.
  if (c.mishap == Mishap::kLate) bound = at + bound * (1 - at / changed_rate(0));

  const double fastest =
      std::min_element(costs.begin(), costs.end(), [](Cost a, Cost b) { return a(1) < b(1); })
          ->
          operator()(1);
  LevelSnapshot snapshot;
  snapshot.devices = std::move(real);
  for (LevelDevice& device : snapshot.devices) {
    device.cost.fixed *= 1 + c.error * uniform(random, -1, 1);
    device.cost.per_row *= 1 + c.error * uniform(random, -1, 1);
  }
  if (c.mishap == Mishap::kLate) snapshot.devices[static_cast<std::size_t>(victim)].limit = 0;
  snapshot.samples.assign(static_cast<std::size_t>(samples), LevelSample{c.steps, -1, 0, 0});
  snapshot.move = c.move * fastest;

  ChromeTrace chrome;
  World world(costs, c.jitter, random(), trace != nullptr ? &chrome : nullptr);
  Rehearsal rehearsal(std::move(snapshot), level_settings().front(), &world);
  constexpr std::int64_t kAll = std::int64_t{1} << 40;
  if (c.mishap != Mishap::kNone && !rehearsal.advance(kAll, at)) {
    if (c.mishap == Mishap::kSlow) world.slow_down(victim, 3);
    if (c.mishap == Mishap::kLate) rehearsal.join(victim, c.limit);
    if (c.mishap == Mishap::kLost) {
      std::vector<int> saved;
      for (const LevelSample& sample : rehearsal.snapshot().samples)
        saved.push_back(std::min(
            c.steps, (sample.left + kCheckpointSteps - 1) / kCheckpointSteps * kCheckpointSteps));
      rehearsal.lose(victim, saved);
    }
  }
  (void)rehearsal.advance(kAll);
  if (trace != nullptr) *trace += chrome.json();
  run.problem = problem_of(rehearsal.snapshot(), rehearsal.finish());
  run.efficiency = bound / rehearsal.finish();
  run.against_one = alone / rehearsal.finish();
  for (const LevelSample& sample : rehearsal.snapshot().samples) {
    run.moves += static_cast<double>(sample.moves) / static_cast<double>(samples);
    run.most_moves = std::max(run.most_moves, sample.moves);
  }
  return run;
}

double percentile(std::vector<double> values, double part) {
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(part * static_cast<double>(values.size()))];
}

}  // namespace pa
