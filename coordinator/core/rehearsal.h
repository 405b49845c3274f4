#pragma once

#include <cstdint>
#include <limits>
#include <queue>
#include <set>
#include <span>
#include <vector>

#include "coordinator/core/level.h"

namespace pa {

/// What may differ from the estimates when a schedule is carried out. Simulators derive from it; a rehearsal has none.
class LevelWorld {
 public:
  virtual ~LevelWorld() = default;
  /// Seconds that the pass which begins now takes.
  virtual double pass_seconds(int device, std::int64_t rows) = 0;
  /// A pass has ended after `seconds`; may change the estimate in `device`.
  virtual void pass_ended(LevelDevice& device, int index, std::int64_t rows, double seconds) = 0;
  /// The plan is being made anew under `setting`; returns the one to go on with.
  virtual LevelSetting choose(const LevelSnapshot& snapshot, const LevelSetting& setting) = 0;
  /// A pass was run, for traces.
  virtual void trace(int device, double begin, double end, const std::vector<int>& rows) = 0;
};

/// Carries out a schedule from a snapshot to its end: level() at the start, at every epoch, and when a sample ends with
/// an empty queue; a free place takes the sample with most steps left from the queue.
///
/// Pure, but for its world. An event costs O(log D), a level() what it costs.
class Rehearsal {
 public:
  Rehearsal(LevelSnapshot snapshot, LevelSetting setting, LevelWorld* world = nullptr,
            double cutoff = std::numeric_limits<double>::infinity());

  /// Handles at most `events` events, those before `until` only. True: it is over.
  bool advance(std::int64_t events, double until = std::numeric_limits<double>::infinity());

  /// When the last sample ended; infinite if none of the devices would take it, or after the cutoff.
  [[nodiscard]] double finish() const { return finish_; }
  [[nodiscard]] const LevelSnapshot& snapshot() const { return s_; }
  [[nodiscard]] bool over() const { return over_; }
  /// [samples] Where each ended, and when; -1: it has not.
  struct End {
    int device = -1;
    double at = 0;
  };
  [[nodiscard]] const std::vector<End>& ends() const { return ends_; }

  /// The device is gone: its samples begin again at the steps `saved` [samples] that were left at their last checkpoint.
  void lose(int device, const std::vector<int>& saved);
  /// A device that got nothing until now takes part.
  void join(int device, std::int64_t limit);

 private:
  enum class What : std::uint8_t { kEnds, kArrives };
  struct Event {
    double time = 0;
    std::uint64_t order = 0;
    What what = What::kEnds;
    int device = -1;
    std::uint64_t life = 0;  ///< Of the device: those of a lost one do not count.
    friend bool operator>(const Event& a, const Event& b) {
      return std::pair(a.time, a.order) > std::pair(b.time, b.order);
    }
  };
  struct Home {
    std::vector<int> samples;
    double began = 0;
    std::uint64_t life = 0;
  };

  void post(double time, What what, int device);
  void go(int sample, int to);
  void think(bool anew);
  void start(int device);
  void start_all();
  void end_pass(int device);
  void give_up();

  LevelSnapshot s_;
  LevelSetting setting_;
  LevelWorld* world_;
  double cutoff_;
  LevelPlan plan_;
  std::vector<Home> homes_;              ///< [devices]
  std::set<std::pair<int, int>> queue_;  ///< (-left, sample): longest first.
  std::vector<End> ends_;
  std::vector<int> fresh_;  ///< [samples] Steps left when first queued; -1: placed at the start.
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  std::uint64_t posted_ = 0;
  std::int64_t live_ = 0;
  double finish_ = std::numeric_limits<double>::infinity();
  bool over_ = false;
  bool stuck_ = false;
};

/// Finds the setting under which the samples of a snapshot end soonest, by rehearsing each: a piece at a time, so that
/// it can be done between other things.
class SettingChoice {
 public:
  SettingChoice(LevelSnapshot snapshot, LevelSetting present,
                std::span<const LevelSetting> settings = level_settings());

  /// Handles at most `events` events. True: setting() is known.
  bool advance(std::int64_t events);

  [[nodiscard]] const LevelSetting& setting() const { return best_; }
  /// When it should all end under setting(), as far as rehearsed; infinite if never.
  [[nodiscard]] double finish() const { return best_finish_; }

 private:
  LevelSnapshot snapshot_;
  LevelSetting present_;
  std::vector<LevelSetting> settings_;
  LevelSetting best_;
  double best_cost_ = std::numeric_limits<double>::infinity();
  double best_finish_ = std::numeric_limits<double>::infinity();
  double moves_ = 0;
  double live_ = 0;
  std::size_t next_ = 0;
  std::vector<Rehearsal> trial_;  ///< The one under way, or none.
};

/// The whole choice at once.
[[nodiscard]] LevelSetting choose_setting(const LevelSnapshot& snapshot,
                                          const LevelSetting& present);

}  // namespace pa
