#include "coordinator/core/level.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <queue>
#include <tuple>

namespace pa {
namespace {

constexpr double kInfinite = std::numeric_limits<double>::infinity();

constexpr std::array<LevelSetting, 9> kSettings{{{1, 1, false, 0.5},
                                                 {3, 1, false, 0.5},
                                                 {8, 1, false, 0.5},
                                                 {1, 3, false, 0.5},
                                                 {3, 1, true, 0.5},
                                                 {1, 1, false, 0.3},
                                                 {2, 2, false, 1},
                                                 {1, kInfinite, false, 0.5},
                                                 {1, 0, false, 0.3}}};
/// A sample that has moved so often stays, if it can.
constexpr int kMaxMoves = 3;
/// Places this close in speed are not worth a move.
constexpr double kAlike = 1.15;

std::size_t index(int i) { return static_cast<std::size_t>(i); }

/// Seconds that a device alone needs for `samples` samples of `steps` steps.
double alone(const LevelDevice& device, std::int64_t samples, double steps) {
  if (device.limit == 0) return kInfinite;
  const std::int64_t batches = (samples + device.limit - 1) / device.limit;
  return device.wait +
         static_cast<double>(batches) * device.cost(std::min(device.limit, samples)) * steps;
}

/// When it could begin its next pass.
double free_at(const LevelDevice& device, double now) {
  return std::max(device.free_at, now) + device.wait;
}

/// Rows for the samples that have `left` steps left, longest first; `caps` of device i at most.
RowShares share_out(const LevelSnapshot& s, std::span<const int> left, const LevelSetting& setting,
                    std::vector<std::int64_t> caps) {
  const std::size_t count = s.devices.size();
  const auto samples = std::ssize(left);
  if (left.empty()) return {std::vector<std::int64_t>(count), 0, s.now};
  const bool one = std::isinf(setting.drop);
  const double steps = std::accumulate(left.begin(), left.end(), 0.0);
  if (one && count > 0) {
    const double each = steps / static_cast<double>(samples);
    std::size_t best = 0;
    for (std::size_t i = 1; i < count; ++i) {
      if (alone(s.devices[i], samples, each) < alone(s.devices[best], samples, each)) best = i;
    }
    for (std::size_t i = 0; i < count; ++i) caps[i] = i == best ? caps[i] : 0;
  }
  while (true) {
    RowShares shares = best_rows(s.devices, caps, samples);
    if (shares.rate == 0) return shares;
    std::vector<double> speeds;
    double ready = 0;  // Rows that would have been done until the devices are free.
    for (std::size_t i = 0; i < count; ++i) {
      if (shares.rows[i] == 0) continue;
      const LevelDevice& device = s.devices[i];
      const double time = device.cost(shares.rows[i]);
      ready += static_cast<double>(shares.rows[i]) / time * free_at(device, s.now);
      speeds.insert(speeds.end(), static_cast<std::size_t>(shares.rows[i]), 1 / time);
    }
    shares.finish = (steps + ready) / shares.rate;
    // The k longest are no faster than on the k fastest places.
    std::sort(speeds.begin(), speeds.end(), std::greater<>());
    double longest = 0;
    double speed = 0;
    for (std::size_t k = 0; k < std::min(speeds.size(), left.size()); ++k) {
      longest += left[k];
      speed += speeds[k];
      shares.finish = std::max(shares.finish, s.now + longest / speed);
    }
    bool fits = true;
    bool any = false;
    std::vector<std::int64_t> smaller(count);
    for (std::size_t i = 0; i < count; ++i) {
      const LevelDevice& device = s.devices[i];
      const double time = shares.finish - free_at(device, s.now);
      std::int64_t fit = 1;
      if (!one) {
        fit = std::max<std::int64_t>(
            device.cost.rows_within(time / setting.grain, device.limit),
            device.limit > 0 && time >= setting.drop * device.cost(1) ? 1 : 0);
      }
      fits = fits && shares.rows[i] <= fit;
      smaller[i] = std::min(caps[i], fit);
      any = any || smaller[i] > 0;
    }
    if (one || fits || !any) return shares;
    caps = std::move(smaller);
  }
}

/// Likewise, by all devices, or by those alone that need not load the model first, whichever ends sooner.
RowShares share_out(const LevelSnapshot& s, std::span<const int> left,
                    const LevelSetting& setting) {
  std::vector<std::int64_t> all;
  std::vector<std::int64_t> at_hand;
  for (const LevelDevice& device : s.devices) {
    all.push_back(device.limit);
    at_hand.push_back(device.wait > 0 ? 0 : device.limit);
  }
  const bool alike = all == at_hand;
  RowShares shares = share_out(s, left, setting, std::move(all));
  if (alike) return shares;
  RowShares sooner = share_out(s, left, setting, std::move(at_hand));
  return sooner.finish < shares.finish ? sooner : shares;
}

}  // namespace

std::span<const LevelSetting> level_settings() { return kSettings; }

std::vector<LevelSetting> settled_settings(int steps) {
  const double all = std::max(steps, 1);
  return {{all, all, false, 0.5}, {all / 2, all / 2, false, 0.5},
          {1, all, false, 0.5},   {all / 3, all / 2, false, 0.5},
          {1, 1, false, 0.5},     {1, kInfinite, false, 0.5}};
}

RowShares best_rows(std::span<const LevelDevice> devices, std::span<const std::int64_t> caps,
                    std::int64_t samples) {
  RowShares shares;
  shares.rows.assign(devices.size(), 0);
  shares.finish = kInfinite;
  using Gain = std::pair<double, std::size_t>;  // Negative marginal rate, device.
  std::priority_queue<Gain, std::vector<Gain>, std::greater<>> gains;
  const auto gain = [&](std::size_t i, std::int64_t rows) {
    const PassCost& cost = devices[i].cost;
    const double before = rows == 0 ? 0 : static_cast<double>(rows) / cost(rows);
    return before - static_cast<double>(rows + 1) / cost(rows + 1);
  };
  for (std::size_t i = 0; i < devices.size(); ++i) {
    if (caps[i] > 0) gains.emplace(gain(i, 0), i);
  }
  for (std::int64_t placed = 0; placed < samples && !gains.empty(); ++placed) {
    const auto [negative, i] = gains.top();
    gains.pop();
    ++shares.rows[i];
    shares.rate -= negative;
    if (shares.rows[i] < caps[i]) gains.emplace(gain(i, shares.rows[i]), i);
  }
  return shares;
}

double makespan_bound(std::span<const LevelDevice> devices, std::int64_t samples, double steps) {
  std::vector<std::int64_t> caps;
  for (const LevelDevice& device : devices) caps.push_back(device.limit);
  return static_cast<double>(samples) * steps / best_rows(devices, caps, samples).rate;
}

LevelPlan level(const LevelSnapshot& s, const LevelSetting& setting) {
  const auto queue = static_cast<int>(s.devices.size());
  // Steps left when the passes that run have ended; of ended samples 0.
  std::vector<int> left(s.samples.size());
  for (std::size_t j = 0; j < left.size(); ++j) left[j] = s.samples[j].left;
  std::vector<bool> live(left.size());
  for (std::size_t j = 0; j < left.size(); ++j) live[j] = left[j] > 0;
  for (const LevelDevice& device : s.devices) {
    for (const int j : device.running) --left[index(j)];
  }
  std::vector<int> alive;
  std::vector<int> at(left.size(), queue);  // The queue is the last place.
  bool all_placed = true;
  for (int j = 0; j < static_cast<int>(left.size()); ++j) {
    if (!live[index(j)]) continue;
    alive.push_back(j);
    if (s.samples[index(j)].device >= 0) at[index(j)] = s.samples[index(j)].device;
    all_placed = all_placed && s.samples[index(j)].device >= 0;
  }
  std::vector<int> longest_first;
  for (const int j : alive) longest_first.push_back(left[index(j)]);
  std::sort(longest_first.begin(), longest_first.end(), std::greater<>());

  RowShares shares = share_out(s, longest_first, setting);
  std::vector<std::int64_t>& rows = shares.rows;
  if (setting.drop == 0 && all_placed) {
    std::fill(rows.begin(), rows.end(), 0);
    for (const int j : alive) ++rows[index(at[index(j)])];
  }
  std::vector<double> t(index(queue) + 1, kInfinite);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (rows[i] > 0) t[i] = s.devices[i].cost(rows[i]);
  }

  const auto waiting =
      std::ssize(alive) - std::accumulate(rows.begin(), rows.end(), std::int64_t{0});
  std::vector<std::int64_t> room(rows.begin(), rows.end());
  room.push_back(std::max<std::int64_t>(0, waiting));
  std::vector<int> want(left.size(), -1);
  std::vector<bool> settled(left.size(), false);
  const auto stay = [&](int j) {
    const int i = at[index(j)];
    if (i == queue || room[index(i)] == 0) return;
    want[index(j)] = i;
    settled[index(j)] = true;
    --room[index(i)];
  };
  if (waiting > 0 && !setting.share) {
    // Who runs goes on; where they are too many, the longest leave.
    std::vector<int> shortest(alive);
    std::stable_sort(shortest.begin(), shortest.end(),
                     [&](int a, int b) { return left[index(a)] < left[index(b)]; });
    for (const int j : shortest) stay(j);
  } else {
    for (const int j : alive) {
      const LevelSample& sample = s.samples[index(j)];
      if (sample.moves >= kMaxMoves || sample.ready > s.now) stay(j);
    }
  }

  std::vector<int> order(index(queue) + 1);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int a, int b) { return t[index(a)] < t[index(b)]; });
  std::vector<int> longest;
  for (const int j : alive) {
    if (!settled[index(j)]) longest.push_back(j);
  }
  std::sort(longest.begin(), longest.end(), [&](int a, int b) {
    const auto key = [&](int j) {
      return std::tuple(-left[index(j)], t[index(at[index(j)])], at[index(j)], j);
    };
    return key(a) < key(b);
  });
  auto place = order.begin();
  for (const int j : longest) {
    while (room[index(*place)] == 0) ++place;  // All rooms together hold all.
    want[index(j)] = *place;
    --room[index(*place)];
  }

  // Stay, and let one who wanted this place have the other. An entry of `wanted` counts while its
  // sample still wants to come.
  std::vector<std::vector<int>> wanted(index(queue) + 1);
  for (const int j : longest) {
    if (want[index(j)] != at[index(j)]) wanted[index(want[index(j)])].push_back(j);
  }
  for (const int j : longest) {
    const int i = at[index(j)];
    const int q = want[index(j)];
    if (i == q || i == queue || q == queue) continue;
    if (std::max(t[index(i)], t[index(q)]) > kAlike * std::min(t[index(i)], t[index(q)])) continue;
    std::vector<int>& comers = wanted[index(i)];
    while (!comers.empty() && want[index(comers.back())] != i) comers.pop_back();
    if (comers.empty()) continue;
    const int k = comers.back();
    comers.pop_back();
    want[index(j)] = i;
    want[index(k)] = q;
    if (at[index(k)] != q) wanted[index(q)].push_back(k);
  }

  LevelPlan plan;
  plan.place.assign(left.size(), -1);
  for (const int j : alive) plan.place[index(j)] = want[index(j)] == queue ? -1 : want[index(j)];
  plan.finish = shares.finish;
  double soonest = kInfinite;
  for (const LevelDevice& device : s.devices) {
    if (device.limit > 0) soonest = std::min(soonest, device.cost(1));
  }
  plan.again = s.now + std::max(soonest, setting.epoch * (shares.finish - s.now));
  plan.rows = std::move(rows);
  return plan;
}

}  // namespace pa
