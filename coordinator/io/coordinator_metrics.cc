#include "coordinator/io/coordinator_metrics.h"

#include <algorithm>
#include <utility>

namespace pa {
namespace {

constexpr std::array<std::string_view, 5> kOutcomes{"ok", "error", "cancelled", "deadline",
                                                    "rejected"};
constexpr std::array<std::string_view, 4> kStates{"live", "suspect", "draining", "lost"};
constexpr std::array<std::string_view, 3> kReasons{"lost", "timeout", "error"};
constexpr std::array<std::string_view, 2> kDirections{"sent", "received"};
constexpr std::array<std::string_view, 3> kKinds{"input", "result", "control"};

template <class Enum>
std::size_t index(Enum value) {
  return static_cast<std::size_t>(value);
}

std::vector<double> request_bounds() {
  std::vector<double> bounds = decade_bounds(0.1, 200);
  bounds.insert(bounds.end(), {300, 600, 900});
  return bounds;
}

std::vector<double> wait_bounds() {
  std::vector<double> bounds = decade_bounds(0.001, 200);
  bounds.push_back(300);
  return bounds;
}

/// An array of what `make` gives for 0, 1, ...
template <std::size_t... I, class Make>
auto array_of(std::index_sequence<I...> /*indices*/, const Make& make) {
  return std::array{make(I)...};
}
template <std::size_t N, class Make>
auto array_of(const Make& make) {
  return array_of(std::make_index_sequence<N>(), make);
}

}  // namespace

CoordinatorMetrics::CoordinatorMetrics(Metrics& metrics)
    : requests_(metrics.counters("pa_requests_total", "Requests that ended, by how.", {"outcome"})),
      duration_(
          metrics
              .histograms("pa_request_duration_seconds",
                          "From admission to the last sample, of requests that were admitted.",
                          request_bounds())
              .with({})),
      queue_wait_(metrics
                      .histograms("pa_queue_wait_seconds",
                                  "From admission to the first sample under way.", wait_bounds())
                      .with({})),
      inflight_(
          metrics.gauges("pa_inflight_requests", "Requests admitted and not finished.").with({})),
      queued_(metrics
                  .gauges("pa_queue_items",
                          "Samples of admitted requests that no worker has been given.")
                  .with({})),
      batch_(metrics
                 .histograms("pa_batch_items", "Samples of an admitted request.",
                             {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096})
                 .with({})),
      retries_(metrics.counters("pa_chunk_retries_total",
                                "Shards whose open samples were given to other workers, by why.",
                                {"reason"})),
      rejected_(metrics
                    .counters("pa_messages_rejected_total",
                              "Messages dropped because they were malformed or too large.")
                    .with({})),
      journal_failures_(
          metrics
              .counters("pa_journal_failures_total",
                        "Requests, samples or outcomes that the journal could not keep.")
              .with({})),
      given_up_(metrics
                    .counters("pa_samples_given_up_total",
                              "Samples that failed because workers kept being lost with them.")
                    .with({})),
      states_(metrics.gauges("pa_worker_state",
                             "1 for the state that a worker is in, 0 for the others.",
                             {"device", "state"})),
      last_heard_(metrics.gauges("pa_worker_last_heartbeat_timestamp_seconds",
                                 "When something was last heard of a worker, since 1970.",
                                 {"device"})),
      share_(metrics.gauges("pa_plan_share_ratio", "A device's part of the plan made last, 0 to 1.",
                            {"device"})),
      assigned_(metrics.counters("pa_device_assigned_items_total",
                                 "Samples given to a device, again after a retry.", {"device"})),
      completed_(metrics.counters("pa_device_completed_items_total",
                                  "Samples that a device finished first.", {"device"})),
      steps_(metrics.counters("pa_device_completed_steps_total",
                              "Sampler steps in the samples that a device finished.", {"device"})),
      moved_(metrics.counters("pa_device_moved_items_total",
                              "Running samples that left a device for another.", {"device"})),
      hedged_(metrics.counters("pa_device_hedged_items_total",
                               "Samples begun again on an idle device, since this one got on no "
                               "more.",
                               {"device"})),
      checkpoints_(metrics.counters("pa_checkpoints_total",
                                    "Times that it was kept where a running sample stood, by its "
                                    "device.",
                                    {"device"})),
      checkpoint_bytes_(metrics.counters("pa_checkpoint_received_bytes_total",
                                         "Bytes of these checkpoints.", {"device"})),
      checkpoints_held_(metrics
                            .gauges("pa_checkpoint_bytes",
                                    "Memory that checkpoints take now: the latest of each sample.")
                            .with({})),
      samples_kept_(metrics
                        .counters("pa_reoffered_items_total",
                                  "Samples that their workers went on with over a new session, as "
                                  "after a restart of the coordinator.")
                        .with({})),
      steps_kept_(metrics
                      .counters("pa_reoffered_steps_total",
                                "Sampler steps of these samples, which were not done again.")
                      .with({})),
      steps_saved_(
          metrics
              .counters("pa_checkpoint_saved_steps_total",
                        "Sampler steps of lost workers that were not done again, thanks to "
                        "checkpoints.")
              .with({})),
      steps_again_(metrics
                       .counters("pa_repeated_steps_total",
                                 "Sampler steps of lost workers that had to be done again.")
                       .with({})),
      bytes_(metrics.counters("pa_transfer_bytes_total",
                              "Bytes between coordinator and workers, as the coordinator sees it; "
                              "through shared memory, too.",
                              {"device", "direction", "kind"})) {
  CounterFamily streams = metrics.counters(
      "pa_stream_bytes_total",
      "Bytes of tensors in the coordinator's messages; in shared memory none are.", {"direction"});
  for (const std::string_view direction : kDirections) {
    stream_bytes_.push_back(streams.with({std::string(direction)}));
  }
  for (const std::string_view outcome : kOutcomes) (void)requests_.with({std::string(outcome)});
  for (const std::string_view reason : kReasons) (void)retries_.with({std::string(reason)});
}

void CoordinatorMetrics::request_accepted(std::int64_t samples) {
  batch_.observe(static_cast<double>(samples));
}

void CoordinatorMetrics::request_refused() { requests_.with({"rejected"}).add(); }

void CoordinatorMetrics::request_finished(std::string_view outcome, double seconds,
                                          double queue_seconds) {
  const bool known = outcome == "ok" || outcome == "cancelled" || outcome == "deadline";
  requests_.with({known ? std::string(outcome) : "error"}).add();
  duration_.observe(seconds);
  queue_wait_.observe(queue_seconds);
}

void CoordinatorMetrics::set_load(std::int64_t requests, std::int64_t waiting_samples) {
  inflight_.set(static_cast<double>(requests));
  queued_.set(static_cast<double>(waiting_samples));
}

void CoordinatorMetrics::worker_joined(const std::string& name) { (void)device(name); }

void CoordinatorMetrics::worker_state(const std::string& name, std::string_view state) {
  const Device& of = device(name);
  for (std::size_t i = 0; i < kStates.size(); ++i) of.states[i].set(kStates[i] == state ? 1 : 0);
}

void CoordinatorMetrics::worker_heard(const std::string& name, double unix_seconds) {
  device(name).last_heard.set(unix_seconds);
}

void CoordinatorMetrics::planned(const std::string& name, double share) {
  device(name).share.set(share);
}

void CoordinatorMetrics::samples_assigned(const std::string& name, std::int64_t samples) {
  device(name).assigned.add(static_cast<double>(samples));
}

void CoordinatorMetrics::samples_finished(const std::string& name, std::int64_t samples,
                                          std::int64_t steps) {
  const Device& of = device(name);
  of.completed.add(static_cast<double>(samples));
  of.steps.add(static_cast<double>(steps));
}

void CoordinatorMetrics::sample_moved(const std::string& name) { device(name).moved.add(1); }

void CoordinatorMetrics::sample_hedged(const std::string& name) { device(name).hedged.add(1); }

void CoordinatorMetrics::checkpoint_taken(const std::string& name, std::uint64_t bytes) {
  const Device& of = device(name);
  of.checkpoints.add(1);
  of.checkpoint_bytes.add(static_cast<double>(bytes));
}

void CoordinatorMetrics::steps_lost(std::int64_t saved, std::int64_t again) {
  steps_saved_.add(static_cast<double>(saved));
  steps_again_.add(static_cast<double>(again));
}

void CoordinatorMetrics::samples_kept(std::int64_t samples, std::int64_t steps) {
  samples_kept_.add(static_cast<double>(samples));
  steps_kept_.add(static_cast<double>(steps));
}

void CoordinatorMetrics::set_checkpoint_bytes(std::uint64_t bytes) {
  checkpoints_held_.set(static_cast<double>(bytes));
}

void CoordinatorMetrics::shard_retried(RetryReason reason) {
  retries_.with({std::string(kReasons[index(reason)])}).add();
}

void CoordinatorMetrics::transferred(const std::string& name, TransferDirection direction,
                                     TransferKind kind, std::uint64_t bytes) {
  device(name).bytes[index(direction)][index(kind)].add(static_cast<double>(bytes));
}

void CoordinatorMetrics::set_messages_rejected(std::uint64_t total) {
  if (total <= rejected_total_) return;
  rejected_.add(static_cast<double>(total - rejected_total_));
  rejected_total_ = total;
}

void CoordinatorMetrics::journal_failed() { journal_failures_.add(1); }

void CoordinatorMetrics::sample_given_up() { given_up_.add(1); }

void CoordinatorMetrics::set_stream_bytes(std::uint64_t sent, std::uint64_t received) {
  const std::array<std::uint64_t, 2> totals{sent, received};
  for (std::size_t i = 0; i < totals.size(); ++i) {
    stream_bytes_[i].add(static_cast<double>(totals[i] - stream_bytes_total_[i]));
    stream_bytes_total_[i] = totals[i];
  }
}

CoordinatorMetrics::Device& CoordinatorMetrics::device(const std::string& name) {
  if (const auto found = devices_.find(name); found != devices_.end()) return found->second;
  if (devices_.size() >= kMaxDevices && name != "other") return device("other");
  const auto state = [&](std::size_t i) { return states_.with({name, std::string(kStates[i])}); };
  const auto transfer = [&](std::size_t direction) {
    return array_of<kKinds.size()>([&](std::size_t kind) {
      return bytes_.with({name, std::string(kDirections[direction]), std::string(kKinds[kind])});
    });
  };
  return devices_
      .emplace(name, Device{.states = array_of<kStates.size()>(state),
                            .last_heard = last_heard_.with({name}),
                            .share = share_.with({name}),
                            .assigned = assigned_.with({name}),
                            .completed = completed_.with({name}),
                            .steps = steps_.with({name}),
                            .moved = moved_.with({name}),
                            .hedged = hedged_.with({name}),
                            .checkpoints = checkpoints_.with({name}),
                            .checkpoint_bytes = checkpoint_bytes_.with({name}),
                            .bytes = array_of<kDirections.size()>(transfer)})
      .first->second;
}

}  // namespace pa
