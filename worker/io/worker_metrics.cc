#include "worker/io/worker_metrics.h"

namespace pa {
namespace {

std::vector<double> step_bounds() {
  std::vector<double> bounds = decade_bounds(0.001, 20);
  bounds.push_back(30);
  return bounds;
}

/// Fine around 5 ms, which a round trip should stay below however many bytes are under way.
std::vector<double> beat_bounds() {
  return {0.0002, 0.0005, 0.001, 0.002, 0.003, 0.004, 0.005, 0.007, 0.01, 0.02, 0.05, 0.1, 0.5, 2};
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
      busy_(metrics
                .counters("pa_device_busy_seconds_total",
                          "Time a device was busy, by what with; phases do not overlap.",
                          {"device", "phase"})
                .with({worker, "compute"})),
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
      switch_duration_(metrics
                           .histograms("pa_lora_switch_duration_seconds",
                                       "Putting other LoRAs on a model's weights before a pass.",
                                       step_bounds(), {"device"})
                           .with({worker})),
      load_duration_(metrics
                         .histograms("pa_model_load_duration_seconds",
                                     "From a model's file to its first evaluation on the device.",
                                     load_bounds(), {"device"})
                         .with({worker})),
      heartbeat_round_trip_(
          metrics
              .histograms("pa_heartbeat_round_trip_seconds",
                          "From a heartbeat to the coordinator's answer, both loops and the wire.",
                          beat_bounds(), {"device"})
              .with({worker})),
      models_broken_(metrics
                         .gauges("pa_models_broken",
                                 "Models in the models' directory that cannot be used; the log "
                                 "says why.",
                                 {"device"})
                         .with({worker})),
      memory_free_(metrics
                       .gauges("pa_memory_free_bytes",
                               "Device memory that new tensors could take; main memory for a CPU.",
                               {"device"})
                       .with({worker})) {}

void WorkerMetrics::device_ready(const std::string& kind, const std::string& name) {
  info_.with({worker_, kind, name}).set(1);
}

void WorkerMetrics::pass_finished(double seconds) {
  busy_.add(seconds);
  step_duration_.observe(seconds);
}

void WorkerMetrics::loras_switched(double seconds) { switch_duration_.observe(seconds); }

void WorkerMetrics::samples_finished(std::int64_t samples) {
  items_.add(static_cast<double>(samples));
}

void WorkerMetrics::steps_finished(std::int64_t steps) { steps_.add(static_cast<double>(steps)); }

void WorkerMetrics::model_loaded(double seconds) { load_duration_.observe(seconds); }

void WorkerMetrics::heartbeat_answered(double seconds) { heartbeat_round_trip_.observe(seconds); }

void WorkerMetrics::models_broken(std::int64_t models) {
  models_broken_.set(static_cast<double>(models));
}

void WorkerMetrics::set_memory_free(std::int64_t bytes) {
  if (bytes >= 0) memory_free_.set(static_cast<double>(bytes));
}

}  // namespace pa
