#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "shared/io/metrics.h"

namespace pa {

/// Why samples were given to another worker.
enum class RetryReason : std::uint8_t { kLost, kTimeout, kError };
enum class TransferDirection : std::uint8_t { kSent, kReceived };  ///< By the coordinator.
enum class TransferKind : std::uint8_t { kInput, kResult, kControl };

/// What the coordinator exports. docs/metrics.md tells what each metric means.
///
/// `device` is everywhere a worker's name. All series of a device appear, at 0, when it is first
/// named; beyond kMaxDevices names, further ones share the series "other".
///
/// Thread: the loop only. Scraping is another matter, and safe.
class CoordinatorMetrics {
 public:
  static constexpr std::size_t kMaxDevices = 4096;

  /// `metrics` must outlive this.
  explicit CoordinatorMetrics(Metrics& metrics);

  // Requests.
  void request_accepted(std::int64_t samples);
  void request_refused();
  /// `outcome`: "ok", or the name of an error's code. Times are from admission.
  void request_finished(std::string_view outcome, double seconds, double queue_seconds);
  /// Accepted and not finished; and of those requests, samples that no worker has.
  void set_load(std::int64_t requests, std::int64_t waiting_samples);

  // Devices.
  void worker_joined(const std::string& device);
  /// "live", "suspect", "draining" or "lost".
  void worker_state(const std::string& device, std::string_view state);
  /// When something was last heard of it, in seconds since 1970.
  void worker_heard(const std::string& device, double unix_seconds);
  /// Its part, 0 to 1, of the plan made last.
  void planned(const std::string& device, double share);
  void samples_assigned(const std::string& device, std::int64_t samples);
  void samples_finished(const std::string& device, std::int64_t samples, std::int64_t steps);
  void shard_retried(RetryReason reason);
  /// A running sample left this device for another.
  void sample_moved(const std::string& device);
  void sample_hedged(const std::string& device);
  /// Where a sample of this device stands has come.
  void checkpoint_taken(const std::string& device, std::uint64_t bytes);
  /// Of samples whose worker was lost: steps that checkpoints saved, and steps that are done again.
  void steps_lost(std::int64_t saved, std::int64_t again);
  /// Samples that their worker went on with over a new session, and the steps they had.
  void samples_kept(std::int64_t samples, std::int64_t steps);
  /// Of all checkpoints that are held.
  void set_checkpoint_bytes(std::uint64_t bytes);

  /// A sample that workers kept being lost with.
  void sample_given_up();

  // Messages.
  void transferred(const std::string& device, TransferDirection direction, TransferKind kind,
                   std::uint64_t bytes);
  /// How many malformed or oversized messages there have been since the start.
  void set_messages_rejected(std::uint64_t total);
  /// Bytes of tensors in messages since the start; those in shared memory are not among them.
  void set_stream_bytes(std::uint64_t sent, std::uint64_t received);

  // The journal.
  void journal_failed();

 private:
  struct Device {
    std::array<GaugeMetric, 4> states;
    GaugeMetric last_heard;
    GaugeMetric share;
    CounterMetric assigned;
    CounterMetric completed;
    CounterMetric steps;
    CounterMetric moved;
    CounterMetric hedged;
    CounterMetric checkpoints;
    CounterMetric checkpoint_bytes;
    std::array<std::array<CounterMetric, 3>, 2> bytes;  // By direction, then kind.
  };

  Device& device(const std::string& name);

  CounterFamily requests_;
  HistogramMetric duration_;
  HistogramMetric queue_wait_;
  GaugeMetric inflight_;
  GaugeMetric queued_;
  HistogramMetric batch_;
  CounterFamily retries_;
  CounterMetric rejected_;
  CounterMetric journal_failures_;
  CounterMetric given_up_;
  std::uint64_t rejected_total_ = 0;
  std::vector<CounterMetric> stream_bytes_;  // By direction.
  std::array<std::uint64_t, 2> stream_bytes_total_{};
  GaugeFamily states_;
  GaugeFamily last_heard_;
  GaugeFamily share_;
  CounterFamily assigned_;
  CounterFamily completed_;
  CounterFamily steps_;
  CounterFamily moved_;
  CounterFamily hedged_;
  CounterFamily checkpoints_;
  CounterFamily checkpoint_bytes_;
  GaugeMetric checkpoints_held_;
  CounterMetric samples_kept_;
  CounterMetric steps_kept_;
  CounterMetric steps_saved_;
  CounterMetric steps_again_;
  CounterFamily bytes_;
  std::map<std::string, Device> devices_;
};

}  // namespace pa
