#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "shared/io/metrics.h"

namespace pa {

/// What a device's time went into. Phases do not overlap.
enum class BusyPhase : std::uint8_t { kCopyIn, kCompute, kCopyOut };

/// What a worker exports. docs/metrics.md tells what each metric means.
///
/// Thread: the loop only. Scraping is another matter, and safe.
class WorkerMetrics {
 public:
  /// `worker` is the `device` label of everything. `metrics` must outlive this.
  WorkerMetrics(Metrics& metrics, const std::string& worker);

  /// What the device is: "cuda:0", "NVIDIA GeForce RTX 4090". Once.
  void device_ready(const std::string& kind, const std::string& name);
  void busy(BusyPhase phase, double seconds);
  /// One network pass ended.
  void pass_finished(double seconds);
  void samples_finished(std::int64_t samples);
  /// Sampler steps, over all samples.
  void steps_finished(std::int64_t steps);
  void model_loaded(double seconds);
  void set_memory_allocated(std::uint64_t bytes);
  /// How many malformed or oversized messages there have been since the start.
  void set_messages_rejected(std::uint64_t total);

 private:
  std::string worker_;
  GaugeFamily info_;
  std::array<CounterMetric, 3> busy_;
  CounterMetric items_;
  CounterMetric steps_;
  HistogramMetric step_duration_;
  HistogramMetric load_duration_;
  GaugeMetric memory_;
  CounterMetric rejected_;
  std::uint64_t rejected_total_ = 0;
};

}  // namespace pa
