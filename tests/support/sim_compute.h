#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <random>
#include <vector>

#include "shared/core/time.h"
#include "worker/io/compute_link.h"

namespace pa {

/// A simulated device: a pass over n rows takes `fixed + n * per_row`; results can be told from one another.
///
/// A `forward` row is returned as it came. A `sample` row is filled with sample_mark(request, sample) and the device's
/// accent, in turns: no two devices agree to the bit.
/// A sample that leaves takes its mark and its steps along; where it goes on, they must be its own.
class SimCompute : public ComputeLink {
 public:
  enum class Death : std::uint8_t { kExit, kBreak, kHang };
  struct Speed {
    Duration fixed = std::chrono::milliseconds{5};
    Duration per_row = std::chrono::milliseconds{10};
    std::int64_t max_rows = 8;
    double jitter = 0;             ///< A pass takes this part more or less (standard deviation).
    std::int64_t memory_rows = 0;  ///< Rows that find memory; 0: all.
    std::int64_t deadly = -1;      ///< A pass with the sample of this index never ends; -1: none.
    Death death = Death::kExit;    ///< What becomes of the process then.
    Duration load{};  ///< To get a model into memory, which has room for one; 0: all are there.
  };

  explicit SimCompute(Speed speed, std::uint64_t seed = 1)
      : speed_(speed), accent_(static_cast<float>(seed % 4096)), random_(seed) {}

  /// From the next pass on.
  void set_speed(Speed speed) { speed_ = speed; }
  /// The running pass, if there is one, takes so much longer.
  void stall(Duration by);

  void run(ShardJob job) override;
  void cancel(ShardId shard) override;
  void leave(ShardId shard, std::int64_t sample) override;
  void save(ShardId shard, std::int64_t sample) override;
  /// Sampler steps done since its start, over all samples.
  [[nodiscard]] std::int64_t steps_done() const { return steps_done_; }
  void prefetch(const std::string& model) override { prefetched_.push_back(model); }
  /// Models that it was told to read ahead.
  [[nodiscard]] const std::vector<std::string>& prefetched() const { return prefetched_; }
  [[nodiscard]] std::optional<EngineReport> poll() override;
  [[nodiscard]] std::int64_t free_memory_bytes() const override { return -1; }
  [[nodiscard]] bool is_loading() const override { return now_ < loaded_at_; }
  [[nodiscard]] bool is_computing() const override { return pass_ends_ || hangs_; }
  [[nodiscard]] std::vector<LoadedModel> loaded() const override;
  /// How often another model was loaded.
  [[nodiscard]] std::int64_t loads() const { return loads_; }

  /// Ends passes that are over at `now`, and begins the next.
  void advance_to(TimePoint now);
  /// The process is to vanish now.
  [[nodiscard]] bool died() const { return died_; }
  /// When the running pass ends; nullopt if idle.
  [[nodiscard]] std::optional<TimePoint> next_event() const { return pass_ends_; }

 private:
  struct Shard {
    ShardJob job;
    std::int64_t sample_steps = 1;         ///< Of each sample.
    std::vector<std::int64_t> steps_left;  ///< [rows]
    std::vector<bool> leaving;             ///< [rows]
    std::int64_t steps = 0;
    double seconds = 0;
  };

  /// Where a sample stands, as it travels.
  struct State {
    float mark = 0;
    std::int64_t steps_left = 0;
  };

  static void check_conditioning(const ShardJob& job);
  void begin_pass();
  [[nodiscard]] bool is_deadly() const;
  void die();
  void end_pass();
  [[nodiscard]] Shape row_shape() const;
  void depart(Shard& shard, std::int64_t row);
  [[nodiscard]] Buffer written_down(const Shard& shard, std::int64_t row) const;
  [[nodiscard]] ShardMoved moved(const Shard& shard, std::int64_t steps) const;
  [[nodiscard]] RowsFinished finish(Shard& shard, std::int64_t row) const;

  Speed speed_;
  float accent_;
  TimePoint now_;
  std::deque<Shard> shards_;
  std::vector<std::pair<ShardId, std::int64_t>> pass_;  ///< Rows of the running pass.
  std::optional<TimePoint> pass_ends_;
  Duration pass_takes_{};
  Shape pass_shape_;
  std::mt19937_64 random_;
  std::int64_t row_limit_ = 1 << 20;  ///< Learned from passes that found no memory.
  std::int64_t steps_done_ = 0;
  std::string model_ = "sim";  ///< That is in memory, where that has room for one.
  TimePoint loaded_at_;
  std::int64_t loads_ = 0;
  std::vector<std::string> prefetched_;
  bool died_ = false;
  bool hangs_ = false;
  std::deque<EngineReport> reports_;
};

/// A float of the conditioning of requests with that seed. SimCompute aborts if it gets another.
[[nodiscard]] float condition_value(std::uint64_t seed, std::int64_t index);

/// What SimCompute fills the row of a sample with.
[[nodiscard]] float sample_mark(const RequestId& request, std::int64_t sample);

}  // namespace pa
