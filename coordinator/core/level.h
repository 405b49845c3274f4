#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "coordinator/core/pass_cost.h"

/// Which device runs which sample, as a function of a snapshot. A sample needs a number of passes ("steps"); between
/// passes samples join, leave, or move to another device. All are to be done soonest. docs/scheduling.md has the
/// reasons, the proofs there are, and the figures. Times are seconds since any origin.
namespace pa {

/// A device, as far as is known. A pass over n samples takes it cost(n).
struct LevelDevice {
  PassCost cost;
  std::int64_t limit = 0;    ///< Samples in one pass, at most; 0: it gets none.
  double free_at = 0;        ///< When its present pass should end.
  std::vector<int> running;  ///< Samples in that pass.
  double wait = 0;           ///< Before its first pass: the model is to be loaded.
};

struct LevelSample {
  int left = 0;      ///< Steps still to do, those of a running pass included.
  int device = -1;   ///< Where it is, or is going; -1: in the queue.
  double ready = 0;  ///< When it gets there.
  int moves = 0;     ///< From device to device, so far.
};

struct LevelSnapshot {
  double now = 0;
  std::vector<LevelDevice> devices;
  std::vector<LevelSample> samples;
  double move = 0;  ///< For so long a moved sample is under way.
};

/// How to level. No setting is best everywhere; rehearsal finds which is best now.
struct LevelSetting {
  /// A batch is no larger than lets so many passes end before the finish.
  double grain = 1;
  /// A device that cannot end so many passes before the finish gets nothing. 0: nobody moves once all
  /// are placed. Infinite: the best device alone.
  double drop = 1;
  /// The queue counts as the slowest place, so running samples may go back to it.
  bool share = false;
  /// Level again after this part of the remaining time.
  double epoch = 0.5;

  friend bool operator==(const LevelSetting&, const LevelSetting&) = default;
};

/// The settings worth rehearsing. The first is the one to begin with.
[[nodiscard]] std::span<const LevelSetting> level_settings();
/// Likewise where no running sample can move: a device gets what it ends in time, all `steps` of it.
[[nodiscard]] std::vector<LevelSetting> settled_settings(int steps);

/// What level() decides.
struct LevelPlan {
  std::vector<int> place;          ///< [samples] Device, or -1: the queue. Of ended ones: -1.
  std::vector<std::int64_t> rows;  ///< [devices] Samples in a pass.
  double again = 0;                ///< When to level again.
  double finish = 0;               ///< When all should be done.
};

/// Rows a device, and the finish they allow.
struct RowShares {
  std::vector<std::int64_t> rows;
  double rate = 0;    ///< Rows a second, together.
  double finish = 0;  ///< Infinite if no device has a row.
};

/// Rows a device that maximise the sum of n / t(n), one row at a time to the largest marginal rate; `samples` rows and
/// caps[i] of device i at most. Ties go to the smaller index.
[[nodiscard]] RowShares best_rows(std::span<const LevelDevice> devices,
                                  std::span<const std::int64_t> caps, std::int64_t samples);

/// The least time for `samples` samples of `steps` steps that no schedule can beat: samples * steps divided by the most
/// rows a second that so many samples allow. Infinite if no device takes any.
[[nodiscard]] double makespan_bound(std::span<const LevelDevice> devices, std::int64_t samples,
                                    double steps);

/// Longest remaining samples to the fastest places; whoever is about as well placed where it is stays there.
///
/// Pure: equal arguments give equal plans; ties go to the smaller index. O((samples + rows) log samples).
[[nodiscard]] LevelPlan level(const LevelSnapshot& snapshot, const LevelSetting& setting);

}  // namespace pa
