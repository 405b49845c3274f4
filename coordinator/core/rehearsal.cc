#include "coordinator/core/rehearsal.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace pa {
namespace {

constexpr double kInfinite = std::numeric_limits<double>::infinity();

/// Samples that arrive so soon after a pass could begin still take part in it.
constexpr double kSameMoment = 1e-9;
/// Cost of one move a sample, as a part of the remaining time; and what favours the present setting.
constexpr double kMovePenalty = 0.002;
constexpr double kLoyalty = 0.997;
/// A rehearsal that is so much worse than the best has lost.
constexpr double kLost = 1.01;

std::size_t index(int i) { return static_cast<std::size_t>(i); }

}  // namespace

Rehearsal::Rehearsal(LevelSnapshot snapshot, LevelSetting setting, LevelWorld* world, double cutoff)
    : s_(std::move(snapshot)), setting_(setting), world_(world), cutoff_(cutoff) {
  homes_.resize(s_.devices.size());
  fresh_.assign(s_.samples.size(), -1);
  ends_.resize(s_.samples.size());
  for (int j = 0; j < static_cast<int>(s_.samples.size()); ++j) {
    const LevelSample& sample = s_.samples[index(j)];
    if (sample.left <= 0) continue;
    ++live_;
    if (sample.device < 0) {
      queue_.emplace(-sample.left, j);
      fresh_[index(j)] = sample.left;
    } else {
      homes_[index(sample.device)].samples.push_back(j);
      if (sample.ready > s_.now) post(sample.ready, What::kArrives, sample.device);
    }
  }
  for (int i = 0; i < static_cast<int>(s_.devices.size()); ++i) {
    homes_[index(i)].began = s_.now;
    if (!s_.devices[index(i)].running.empty())
      post(std::max(s_.devices[index(i)].free_at, s_.now), What::kEnds, i);
  }
  if (live_ == 0) {
    over_ = true;
    finish_ = s_.now;
    return;
  }
  think(true);
  start_all();
}

void Rehearsal::post(double time, What what, int device) {
  events_.push({time, posted_++, what, device, homes_[index(device)].life});
}

void Rehearsal::go(int j, int to) {
  LevelSample& sample = s_.samples[index(j)];
  if (sample.device < 0) {
    queue_.erase({-sample.left, j});
  } else {
    std::erase(homes_[index(sample.device)].samples, j);
  }
  sample.device = to;
  if (to < 0) {
    queue_.emplace(-sample.left, j);
    return;
  }
  homes_[index(to)].samples.push_back(j);
  if (sample.left == fresh_[index(j)]) {  // Not begun: nothing but the request travels.
    sample.ready = s_.now;
    return;
  }
  ++sample.moves;
  sample.ready = s_.now + s_.move;
  post(sample.ready, What::kArrives, to);
}

void Rehearsal::think(bool anew) {
  std::vector<bool> computing(s_.samples.size());
  for (LevelDevice& device : s_.devices) {
    // A pass that is overdue is expected to take as much again as it is overdue.
    if (device.free_at < s_.now)
      device.free_at = device.running.empty() ? s_.now : 2 * s_.now - device.free_at;
    for (const int j : device.running) computing[index(j)] = true;
  }
  if (anew && world_ != nullptr) setting_ = world_->choose(s_, setting_);
  LevelPlan plan = level(s_, setting_);
  if (!anew) plan.again = plan_.again;
  plan_ = std::move(plan);
  for (int j = 0; j < static_cast<int>(s_.samples.size()); ++j) {
    const LevelSample& sample = s_.samples[index(j)];
    if (sample.left > 0 && plan_.place[index(j)] != sample.device && !computing[index(j)])
      go(j, plan_.place[index(j)]);
  }
}

void Rehearsal::start(int i) {
  LevelDevice& device = s_.devices[index(i)];
  Home& home = homes_[index(i)];
  if (!device.running.empty() || device.limit == 0) return;
  while (!queue_.empty() && std::ssize(home.samples) < plan_.rows[index(i)]) {
    const int j = queue_.begin()->second;
    plan_.place[index(j)] = i;
    go(j, i);
  }
  for (const int j : home.samples) {
    if (s_.samples[index(j)].ready <= s_.now + kSameMoment) device.running.push_back(j);
  }
  if (device.running.empty()) return;
  if (std::ssize(device.running) > device.limit) {
    std::stable_sort(device.running.begin(), device.running.end(), [&](int a, int b) {
      return s_.samples[index(a)].left > s_.samples[index(b)].left;
    });
    device.running.resize(static_cast<std::size_t>(device.limit));
  }
  const auto rows = std::ssize(device.running);
  const double expected = device.cost(rows) + std::exchange(device.wait, 0);
  home.began = s_.now;
  device.free_at = s_.now + expected;
  post(s_.now + (world_ != nullptr ? world_->pass_seconds(i, rows) : expected), What::kEnds, i);
}

void Rehearsal::start_all() {
  for (int i = 0; i < static_cast<int>(s_.devices.size()); ++i) {
    if (!queue_.empty() || !homes_[index(i)].samples.empty()) start(i);
  }
}

void Rehearsal::end_pass(int i) {
  LevelDevice& device = s_.devices[index(i)];
  Home& home = homes_[index(i)];
  const std::vector<int> rows = std::move(device.running);
  device.running.clear();
  if (world_ != nullptr) {
    world_->trace(i, home.began, s_.now, rows);
    world_->pass_ended(device, i, std::ssize(rows), s_.now - home.began);
  }
  bool ended = false;
  for (const int j : rows) {
    if (--s_.samples[index(j)].left > 0) continue;
    std::erase(home.samples, j);
    ends_[index(j)] = {i, s_.now};
    --live_;
    ended = true;
  }
  if (live_ == 0) {
    over_ = true;
    finish_ = s_.now;
    return;
  }
  const bool anew = s_.now >= plan_.again;
  const bool thought = anew || (ended && queue_.empty());
  if (thought) think(anew);
  for (const int j : rows) {
    if (s_.samples[index(j)].left > 0 && plan_.place[index(j)] != i) go(j, plan_.place[index(j)]);
  }
  if (thought || !queue_.empty()) {
    start_all();
  } else {
    start(i);
  }
}

void Rehearsal::give_up() {
  over_ = true;
  finish_ = kInfinite;
}

bool Rehearsal::advance(std::int64_t events, double until) {
  for (; !over_ && events > 0; --events) {
    if (events_.empty()) {  // Everybody waits for somebody: think again, once.
      if (stuck_) {
        give_up();
        break;
      }
      stuck_ = true;
      think(true);
      start_all();
      continue;
    }
    const Event event = events_.top();
    if (event.time > until) return false;
    events_.pop();
    if (event.life != homes_[index(event.device)].life) continue;
    stuck_ = false;
    s_.now = event.time;
    if (s_.now > cutoff_) {
      give_up();
      break;
    }
    if (event.what == What::kEnds) {
      end_pass(event.device);
    } else {
      start(event.device);
    }
  }
  return over_;
}

void Rehearsal::lose(int i, const std::vector<int>& saved) {
  LevelDevice& device = s_.devices[index(i)];
  device.limit = 0;
  device.running.clear();
  ++homes_[index(i)].life;
  const std::vector<int> lost = homes_[index(i)].samples;
  for (const int j : lost) {
    s_.samples[index(j)].left = saved[index(j)];
    go(j, -1);
  }
  think(true);
  start_all();
}

void Rehearsal::join(int i, std::int64_t limit) {
  s_.devices[index(i)].limit = limit;
  think(true);
  start_all();
}

SettingChoice::SettingChoice(LevelSnapshot snapshot, LevelSetting present,
                             std::span<const LevelSetting> settings)
    : snapshot_(std::move(snapshot)),
      present_(present),
      settings_(settings.begin(), settings.end()),
      best_(present) {
  for (const LevelSample& sample : snapshot_.samples) {
    moves_ += sample.moves;
    live_ += sample.left > 0 ? 1 : 0;
  }
}

bool SettingChoice::advance(std::int64_t events) {
  while (next_ < settings_.size()) {
    const double now = snapshot_.now;
    if (trial_.empty()) {
      const double cutoff = std::isinf(best_cost_) ? kInfinite : now + kLost * best_cost_;
      trial_.emplace_back(snapshot_, settings_[next_], nullptr, cutoff);
    }
    // In pieces, so that `events` is kept to; the count that is left is not told.
    constexpr std::int64_t kPiece = 64;
    Rehearsal& trial = trial_.front();
    bool over = trial.over();
    while (!over && events > 0) {
      over = trial.advance(std::min(events, kPiece));
      events -= kPiece;
    }
    if (!over) return false;
    double moves = -moves_;
    for (const LevelSample& sample : trial.snapshot().samples) moves += sample.moves;
    double cost = (trial.finish() - now) * (1 + kMovePenalty * moves / std::max(live_, 1.0));
    if (settings_[next_] == present_) cost *= kLoyalty;
    if (cost < best_cost_) {
      best_cost_ = cost;
      best_finish_ = trial.finish();
      best_ = settings_[next_];
    }
    trial_.clear();
    ++next_;
  }
  return true;
}

LevelSetting choose_setting(const LevelSnapshot& snapshot, const LevelSetting& present) {
  SettingChoice choice(snapshot, present);
  while (!choice.advance(1 << 20)) {
  }
  return choice.setting();
}

}  // namespace pa
