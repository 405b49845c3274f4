#pragma once

#include <cstdint>
#include <string>

#include "shared/io/metrics.h"

namespace pa {

/// What a worker exports. docs/metrics.md tells what each metric means.
///
/// Thread: the loop only. Scraping is another matter, and safe.
class WorkerMetrics {
 public:
  /// `worker` is the `device` label of everything. `metrics` must outlive this.
  WorkerMetrics(Metrics& metrics, const std::string& worker);

  /// What the device is: "cuda:0", "NVIDIA GeForce RTX 4090". Once.
  void device_ready(const std::string& kind, const std::string& name);
  /// One network pass ended.
  void pass_finished(double seconds);
  /// Other LoRAs were put on a model.
  void loras_switched(double seconds);
  void samples_finished(std::int64_t samples);
  /// Sampler steps, over all samples.
  void steps_finished(std::int64_t steps);
  void model_loaded(double seconds);
  /// The coordinator answered a heartbeat after so long.
  void heartbeat_answered(double seconds);
  /// So many models of the models' directory cannot be used.
  void models_broken(std::int64_t models);
  /// -1: unknown; the metric stays as it is.
  void set_memory_free(std::int64_t bytes);

 private:
  std::string worker_;
  GaugeFamily info_;
  CounterMetric busy_;
  CounterMetric items_;
  CounterMetric steps_;
  HistogramMetric step_duration_;
  HistogramMetric switch_duration_;
  HistogramMetric load_duration_;
  HistogramMetric heartbeat_round_trip_;
  GaugeMetric models_broken_;
  GaugeMetric memory_free_;
};

}  // namespace pa
