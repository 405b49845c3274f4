#include "worker/io/worker_metrics.h"

namespace pa {
namespace {

std::array<CounterMetric, 3> busy_series(const CounterFamily& family, const std::string& worker) {
  return {family.with({worker, "copy_in"}), family.with({worker, "compute"}),
          family.with({worker, "copy_out"})};
}

std::vector<double> step_bounds() {
  std::vector<double> bounds = decade_bounds(0.001, 20);
  bounds.push_back(30);
  return bounds;
}

std::vector<double> load_bounds() {
  std::vector<double> bounds = decade_bounds(0.1, 200);
  bounds.insert(bounds.end(), {300, 600});
  return bounds;
}

}  // namespace

WorkerMetrics::WorkerMetrics(Metrics& metrics, const std::string& worker)
    : worker_(worker),
      info_(metrics.gauges("pa_device_info", "1; what the device is.", {"device", "kind", "name"})),
      busy_(busy_series(metrics.counters("pa_device_busy_seconds_total",
                                         "Time a device was busy, by what with; phases do not "
                                         "overlap.",
                                         {"device", "phase"}),
                        worker)),
      items_(metrics
                 .counters("pa_device_items_total",
                           "Samples that ended on this device, well or "
                           "not.",
                           {"device"})
                 .with({worker})),
      steps_(metrics
                 .counters("pa_device_steps_total",
                           "Sampler steps that this device did, over all samples.", {"device"})
                 .with({worker})),
      step_duration_(metrics
                         .histograms("pa_step_duration_seconds",
                                     "One network pass, over all rows in it.", step_bounds(),
                                     {"device"})
                         .with({worker})),
      load_duration_(metrics
                         .histograms("pa_model_load_duration_seconds",
                                     "From a model's file to its first evaluation on the device.",
                                     load_bounds(), {"device"})
                         .with({worker})),
      memory_(
          metrics
              .gauges("pa_memory_allocated_bytes", "Device memory that tensors hold.", {"device"})
              .with({worker})),
      rejected_(metrics
                    .counters("pa_messages_rejected_total",
                              "Messages dropped because they were malformed or too large.")
                    .with({})) {}

void WorkerMetrics::device_ready(const std::string& kind, const std::string& name) {
  info_.with({worker_, kind, name}).set(1);
}

void WorkerMetrics::busy(BusyPhase phase, double seconds) {
  busy_[static_cast<std::size_t>(phase)].add(seconds);
}

void WorkerMetrics::pass_finished(double seconds) { step_duration_.observe(seconds); }

void WorkerMetrics::samples_finished(std::int64_t samples) {
  items_.add(static_cast<double>(samples));
}

void WorkerMetrics::steps_finished(std::int64_t steps) { steps_.add(static_cast<double>(steps)); }

void WorkerMetrics::model_loaded(double seconds) { load_duration_.observe(seconds); }

void WorkerMetrics::set_memory_allocated(std::uint64_t bytes) {
  memory_.set(static_cast<double>(bytes));
}

void WorkerMetrics::set_messages_rejected(std::uint64_t total) {
  if (total <= rejected_total_) return;
  rejected_.add(static_cast<double>(total - rejected_total_));
  rejected_total_ = total;
}

}  // namespace pa
