#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "coordinator/core/actions.h"
#include "coordinator/core/admission.h"
#include "coordinator/core/job.h"
#include "coordinator/core/worker_table.h"
#include "shared/core/recent_set.h"
#include "shared/core/time.h"

namespace pa {

struct CoordinatorOptions {
  std::uint64_t epoch = 1;  ///< Another at every start of the process.
  AdmissionLimits admission;
  std::int64_t max_requests = 1024;             ///< Known at a time, finished ones included.
  std::uint64_t max_total_bytes = 32ull << 30;  ///< Buffers of all requests together.
  std::uint64_t window_bytes = 8u << 20;        ///< Results under way from one worker, per shard.
  LivenessOptions liveness;
  Duration progress_interval = std::chrono::milliseconds{100};
  Duration retention =
      std::chrono::minutes{10};  ///< Of a finished request that nobody acknowledges.
  std::uint64_t retention_bytes =
      4ull << 30;                 ///< Of all such whose clients are gone; the oldest go first.
  std::int64_t max_attempts = 5;  ///< Of one sample, before it fails.
  std::map<std::string, double> weights;          ///< By worker name; override what workers say.
  bool durable = false;                           ///< The journal outlives the process.
  std::uint64_t max_journal_bytes = 64ull << 30;  ///< Inputs and results in a durable journal.
  std::string journal = "memory";                 ///< For ClusterStatus.
  std::string version = "0.1.0";                  ///< Likewise.
};

/// Everything the coordinator decides, and nothing it does: no socket, no
/// thread, no clock. The loop feeds events in and performs the actions.
///
/// Thread: loop only. Events at equal `now` apply in call order.
class Coordinator {
 public:
  explicit Coordinator(CoordinatorOptions options);

  /// Appends to `out` what must be done because of `event`.
  /// `now` must not run backwards.
  void step(const Event& event, TimePoint now, std::vector<Action>& out);

  /// When to call step(Tick{}) at the latest; nullopt if nothing waits.
  [[nodiscard]] std::optional<TimePoint> next_deadline() const;

  /// Aborts naming the broken rule. Tests call it after every step.
  void check_invariants() const;

  /// For health and metrics.
  [[nodiscard]] const WorkerTable& workers() const { return workers_; }
  [[nodiscard]] std::int64_t active_requests() const { return active_; }
  [[nodiscard]] std::int64_t waiting_samples() const;
  [[nodiscard]] ClusterStatus status(TimePoint now) const;

 private:
  // Requests: coordinator_requests.cc
  void on(const event::Submitted& event);
  void on(const event::FromClient& event);
  void on(const event::NoMemory& event);
  void resubmitted(Job& job, PeerId peer, const Submit& submit, bool shares);
  [[nodiscard]] Result<Admitted> check(const Submit& submit, const Result<Request>& body) const;
  void refuse(PeerId peer, const RequestId& request, const Error& error);
  void inputs_complete(Job& job);
  void accept(Job& job);
  void send_accepted(const Job& job);
  void cancel(PeerId peer, const RequestId& request);
  void end(Job& job, const std::optional<Error>& error);
  void erase(const RequestId& request);
  void limit_retained();
  void send_progress(Job& job);

  // The journal: coordinator_recovery.cc
  void on(const event::Journaled& event);
  void on(const event::Recovered& event);
  void on(const event::RecoveredEnded& event);
  void tell_outcome(Job& job);
  void restore_sample(Job& job, const SampleReport& report);
  void restore_outcome(Job& job, const Done& outcome);

  // Work: coordinator_work.cc
  void place(Job& job);
  [[nodiscard]] std::vector<PlanCandidate> candidates(const std::string& model) const;
  [[nodiscard]] std::vector<PlanShare> explain(const Plan& plan) const;
  void unqueue(Job& job);
  void replace_all();
  void dispatch();
  void assign(Worker& worker, Job& job, std::vector<std::int64_t> samples);
  void compare_holdings(Worker& worker, const std::vector<ShardId>& held);
  void on_samples_done(Worker& worker, const SamplesDone& message);
  void complete_pending(Shard& shard);
  void finish_samples(Shard& shard, const SamplesDone& message);
  void append_result(Job& job, std::int64_t first, std::int64_t count);
  void stream_result(Job& job, std::uint64_t from);
  void send_inputs(const Worker& worker, const Shard& shard);
  void lose_shard(ShardId id, const std::string& reason);
  void drop_shard(ShardId id);
  void end_if_complete(Job& job);

  // Workers: coordinator_workers.cc
  void on(const event::FromWorker& event);
  void on(const event::PeerGone& event);
  void on(const event::WeightsChanged& event);
  void on_hello(PeerId peer, const Hello& hello, const std::string& who);
  void on_attach(PeerId peer, const Attach& attach, const event::FromWorker& event);
  void heard(Worker& worker);
  void lose_worker(WorkerId id, const std::string& reason);
  void set_state(Worker& worker, WorkerState state, const std::string& reason);
  [[nodiscard]] double weight_of(const Hello& hello) const;

  // Time: coordinator.cc
  void on(const StreamArrived& event);
  void on(const StreamSent& event);
  void on(const StreamBroken& event);
  void on(const event::WantsBytes& event);
  void on(const event::Shutdown& event);
  void on(const event::Tick& event);
  void check_liveness();
  void check_timers();
  void check_shutdown();

  void emit(Action action) { out_->push_back(std::move(action)); }
  void tell(Note note) { out_->push_back(std::move(note)); }
  void send(PeerId peer, Message message, std::vector<BufferId> share = {}) {
    emit(action::Send{peer, std::move(message), std::move(share)});
  }
  [[nodiscard]] bool any_worker_shares() const;
  void send_status(PeerId peer, std::uint64_t tag);
  [[nodiscard]] Job* find(const RequestId& request);
  [[nodiscard]] Shard* find(ShardId shard);

  CoordinatorOptions options_;
  WorkerTable workers_;
  std::map<RequestId, Job> jobs_;
  std::map<ShardId, Shard> shards_;
  /// Jobs with waiting samples planned for a worker, in the order they get it.
  std::map<WorkerId, std::map<JobKey, RequestId>> queues_;
  std::set<std::pair<TimePoint, RequestId>>
      timers_;  ///< Deadlines of running jobs, retention of finished ones.
  RecentSet<RequestId> tombstones_{
      4096};  ///< Acknowledged requests, so that a late Submit does not run one again.
  std::map<std::string, WorkerTotals> totals_;
  std::map<std::string, WorkerStatus> lost_;  ///< The last of each name, for status; bounded.
  std::set<RequestId> progress_due_;
  std::optional<TimePoint> next_progress_;
  std::uint64_t buffered_bytes_ = 0;
  std::uint64_t journal_bytes_ = 0;
  std::int64_t active_ = 0;
  std::uint64_t last_buffer_ = 0;
  std::uint64_t last_shard_ = 0;
  std::uint64_t last_sequence_ = 0;
  bool membership_changed_ = false;
  std::optional<TimePoint> shutdown_at_;  ///< When running requests are given up.
  bool exiting_ = false;
  TimePoint started_at_;
  bool started_ = false;
  TimePoint now_;
  std::vector<Action>* out_ = nullptr;
};

}  // namespace pa
