#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "coordinator/core/actions.h"
#include "coordinator/core/admission.h"
#include "coordinator/core/cost_model.h"
#include "coordinator/core/job.h"
#include "coordinator/core/level.h"
#include "coordinator/core/load_times.h"
#include "coordinator/core/rehearsal.h"
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
      4ull << 30;  ///< Of all such whose clients are gone; the oldest go first.
  /// Workers of two names, or two workers more of one, lost with a sample before it is quarantined.
  std::int64_t strikes = 3;
  std::int64_t max_attempts = 100;  ///< Of one sample, whyever it was lost, before it fails.
  Duration checkpoint_interval = std::chrono::seconds{5};  ///< Of computing, at least.
  std::uint64_t checkpoint_bytes = 1ull << 30;  ///< Of all checkpoints together; 0: none are made.
  Duration offer_wait =
      std::chrono::seconds{2};  ///< For workers of an earlier life, with recovered samples.
  std::map<std::string, double> weights;         ///< By worker name; override what workers say.
  std::map<std::string, double> client_weights;  ///< By the name of a client's key; others have 1.
  /// kStatic: every request is shared out by weight, as if it asked for it.
  Scheduling scheduling = Scheduling::kMeasured;
  std::string costs;  ///< What CostModel::save() made in an earlier life; empty: nothing is known.
  bool durable = false;                           ///< The journal outlives the process.
  std::uint64_t blob_bytes = 256ull << 20;        ///< Of tensors kept for later requests, at most.
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
  /// What passes cost, as learned so far: to be kept for the next life.
  [[nodiscard]] const CostModel& costs() const { return costs_; }
  [[nodiscard]] std::uint64_t checkpoint_bytes() const { return checkpoint_bytes_; }

 private:
  // Requests: coordinator_requests.cc
  void on(const event::Submitted& event);
  void on(const event::FromClient& event);
  void on(const event::NoMemory& event);
  void resubmitted(Job& job, PeerId peer, const Submit& submit, bool shares);
  [[nodiscard]] const ModelInfo* model_for(const std::string& name) const;
  [[nodiscard]] Result<Admitted> check(const Submit& submit, const Result<Request>& body) const;
  void refuse(PeerId peer, const RequestId& request, const Error& error);
  void inputs_complete(Job& job);
  void accept(Job& job);
  void characterise(Job& job);
  void name_blobs(Job& job, const std::string& scope);
  void receive_inputs(Job& job, const event::Submitted& event);
  void begin_share(Job& job);
  void send_accepted(const Job& job);
  void cancel(PeerId peer, const RequestId& request);
  void end(Job& job, const std::optional<Error>& error);
  void erase(const RequestId& request);
  void limit_retained();
  void send_progress(Job& job);
  [[nodiscard]] Status check_workers(const Request& request) const;

  // The journal: coordinator_recovery.cc
  void on(const event::Journaled& event);
  void on(const event::Recovered& event);
  void on(const event::RecoveredEnded& event);
  void tell_outcome(Job& job);
  void restore_sample(Job& job, const SampleReport& report);
  void restore_outcome(Job& job, const Done& outcome);

  // Work: coordinator_work.cc
  void place(Job& job);
  [[nodiscard]] std::vector<PlanCandidate> candidates(const Request& request) const;
  [[nodiscard]] std::vector<PlanShare> in_words(const Plan& plan) const;
  void unqueue(Job& job);
  void replace_all();
  void dispatch();
  void assign(Worker& worker, Job& job, std::vector<std::int64_t> samples);
  void compare_holdings(Worker& worker, const std::vector<ShardId>& held);
  void on_samples_done(Worker& worker, const SamplesDone& message);
  void pass_on(const Worker& worker, const SamplePreview& preview);
  void complete_pending(Shard& shard);
  void finish_samples(Shard& shard, const SamplesDone& message);
  void append_result(Job& job, std::int64_t first, std::int64_t count);
  void stream_result(Job& job, std::uint64_t from);
  void send_inputs(const Worker& worker, const Shard& shard);
  void send_pieces(const Worker& worker, const Shard& shard, const std::vector<Piece>& pieces,
                   std::uint64_t window);
  void drop_shard(ShardId id);
  [[nodiscard]] ShardId shard_of(const Job& job, std::int64_t number) const;
  void end_if_complete(Job& job);

  // Samples whose worker was lost, and those that it may have been lost for: coordinator_losses.cc

  /// Why a shard comes back: whether its samples may have to do with it.
  enum class Blame : std::uint8_t { kNone, kSamples };
  void lose_shard(ShardId id, const std::string& reason, Blame blame = Blame::kNone);
  void fail_sample(Job& job, std::int64_t number, const Worker& worker, Error error);
  [[nodiscard]] bool may_only_run_alone(const Sample& sample) const;
  [[nodiscard]] bool is_to_be_quarantined(const Sample& sample) const;
  [[nodiscard]] bool kept_from_others(const Worker& worker) const;
  [[nodiscard]] Worker* worker_for_alone(const Job& job, const Sample& sample);
  void run_alone();
  void absolve(std::uint64_t boot);

  // Scheduling: what the next three groups work with

  /// The seconds of a step for n = 1, 2, ... samples of a job on a worker, and how many it is best at.
  struct StepCost {
    std::vector<double> seconds;
    std::int64_t places = 1;
    CostBasis basis = CostBasis::kNothing;
  };
  /// A snapshot for level(), and whose devices and samples it speaks of.
  struct View {
    LevelSnapshot snapshot;
    std::vector<WorkerId> workers;                       ///< [devices]
    std::vector<std::pair<Job*, std::int64_t>> samples;  ///< [samples]
    std::deque<std::vector<double>> costs;               ///< What the snapshot's tables point to.
    bool yields = true;                                  ///< All of them let running samples leave.
    CostBasis basis = CostBasis::kMeasured;              ///< The least sure of its estimates.
  };
  /// The plan that is carried out.
  struct Levelled {
    bool active = false;
    bool too_many =
        false;  ///< So many samples that all devices are full: there is nothing to level yet.
    bool level_due = false;  ///< A sample ended, and the queue is empty.
    RequestId reference;     ///< The job whose kind of passes it is about.
    TimePoint again;         ///< The next epoch.
    TimePoint not_before;    ///< No level() before.
    std::unique_ptr<View> rehearsed;
    int hold = 0;  ///< Steps for which nothing is handed out, since the choice is about to be made.
    std::unique_ptr<SettingChoice> choice;  ///< Under way; of `rehearsed`.
  };
  /// A model of a worker that is lost, which may be back soon.
  struct LeftModel {
    ModelInfo model;
    TimePoint until;
  };
  /// What one client has been given, in rows of passes, over its weight.
  struct Payer {
    double served = 0;
    double weight = 1;
    std::int64_t jobs = 0;
  };

  // What level() is told: coordinator_view.cc
  [[nodiscard]] static CostModel::DeviceId device_of(const Worker& worker);
  [[nodiscard]] bool is_static(const Job& job) const;
  [[nodiscard]] bool can_run(const Worker& worker, const Job& job) const;
  [[nodiscard]] bool takes(const Worker& worker, const Job& job) const;
  [[nodiscard]] double weight_part(const Worker& worker) const;
  [[nodiscard]] static std::int64_t places_of(const Worker& worker, const Job& job,
                                              const PassEstimate& estimate);
  [[nodiscard]] StepCost step_cost(const Worker& worker, const Job& job, double part);
  [[nodiscard]] std::vector<std::int64_t> computing(const Worker& worker, const Job& job,
                                                    std::int64_t limit) const;
  [[nodiscard]] Job* job_to_level();
  [[nodiscard]] View view(Job& reference);

  // Plans, and what is handed out by them: coordinator_schedule.cc
  void start_plan();
  void rehearse();
  void relevel(bool anew);
  void apply(const View& now, const LevelPlan& plan, bool anew);
  void enqueue(Job& job, std::int64_t number);
  void dequeue(Job& job, std::int64_t number);
  [[nodiscard]] Job* next_job(const Worker& worker, const std::set<RequestId>& without);
  [[nodiscard]] bool is_planned(const Worker& worker, const Job& job);
  [[nodiscard]] std::int64_t places_for(const Worker& worker, const Job& job);
  void charge(Job& job, std::int64_t number, double sign);
  void feed_worker(Worker& worker);
  void schedule();
  [[nodiscard]] std::optional<TimePoint> next_schedule() const;
  void sample_ended(Worker& worker);
  void learn(Worker& worker, const WorkerProgress& progress);
  [[nodiscard]] std::optional<double> longest_pass(const Worker& worker);
  void pass_ended(Worker& worker);
  void check_overdue(Worker& worker, Duration busy_for);
  void mark_urgent(const View& now);

  // Whose model is in which memory: coordinator_affinity.cc
  [[nodiscard]] double load_wait(const Worker& worker, const Job& job) const;
  [[nodiscard]] bool is_in_memory(const Worker& worker, const Job& job) const;
  [[nodiscard]] const Shard* incoming(const Worker& worker) const;
  [[nodiscard]] bool is_at_hand(const Worker& worker, const Job& job) const;
  [[nodiscard]] bool may_change(const Worker& worker, const Job& job, double load) const;
  [[nodiscard]] double seconds_to_take(const Job& job);
  void prefetch(const Job& job);

  // Samples of late workers that are begun again elsewhere: coordinator_hedges.cc
  [[nodiscard]] bool may_be_hedged(const Job& job, const Shard& shard, std::int64_t number) const;
  void hedge_on_their_way(const Worker& late);
  void hedge_on_idle(const Worker& late);
  void begin_copy(Job& job, Shard& shard, std::int64_t number, Worker& to);
  void take_back(Shard& shard, std::int64_t number);
  void forget_late_copy(Shard& shard, std::int64_t number);
  void lose_late_copy(ShardId id);
  [[nodiscard]] double step_seconds(const Job& job, const Worker& worker);
  [[nodiscard]] bool is_ahead(const Job& job, const Worker& late, std::int64_t number,
                              const LateCopy& copy);
  void settle_late(Worker& worker);
  void ask_for_late_copies(const Worker& worker);
  [[nodiscard]] bool late_copy_left(Shard& shard, const Yielded& message);

  // Running samples that leave: coordinator_moves.cc
  void ask_to_leave(Job& job, std::int64_t number, WorkerId to);
  void begin_move(Job& job, std::int64_t number, ShardId shard, WorkerId to, ShardId id);
  void ask_again(const Worker& worker);
  void on_yielded(Worker& worker, const Yielded& message);
  void complete_move(ShardId id);
  void end_move(ShardId id);

  // Checkpoints: coordinator_checkpoints.cc
  [[nodiscard]] static std::uint64_t most_state_bytes(const Job& job);
  void keep_checkpoint(Job& job, std::int64_t number, BufferId buffer, std::uint64_t bytes,
                       std::int64_t steps, double worth);
  void forget_checkpoint(Job& job, std::int64_t number);
  [[nodiscard]] bool make_room(std::uint64_t bytes, double worth);
  [[nodiscard]] Duration save_interval(const Worker& worker, const Job& job) const;
  void save_due(const Worker& worker);
  void ask_to_save(const Worker& worker, const Shard& shard, Job& job, std::int64_t number);
  void on_saved(Worker& worker, const Saved& message);
  void complete_save(ShardId id);
  void end_save(ShardId id);
  [[nodiscard]] bool drop_bad_checkpoint(const Shard& shard, const SamplesDone& message);
  void check_checkpoints() const;

  // What workers hold of earlier sessions: coordinator_reoffer.cc
  [[nodiscard]] bool awaits_offers(const Job& job) const;
  void check_offers();
  [[nodiscard]] std::vector<KeptShard> take_offers(Worker& worker, const Attach& attach,
                                                   bool joined);
  [[nodiscard]] Job* job_of(const Worker& worker, const OfferedShard& offer);
  [[nodiscard]] std::vector<std::int64_t> adopt(Worker& worker, const OfferedShard& offer);
  void give_up_copy(Job& job, std::int64_t number);
  void take_waiting(Job& job, std::int64_t number);

  // What a plan says in words: coordinator_plans.cc
  void explain(Job& job);
  void explain_by_weight(Job& job);
  void explain_forward(Job& job);
  void explain_levelled(Job& job);
  [[nodiscard]] std::optional<Plan> plan_forward(const Job& job, std::int64_t samples);
  [[nodiscard]] Status check_deadline(Job& job);

  // Workers: coordinator_workers.cc
  void on(const event::FromWorker& event);
  void on(const event::PeerGone& event);
  void on(const event::WeightsChanged& event);
  void on_hello(PeerId peer, const Hello& hello, const std::string& who);
  void on_attach(PeerId peer, const Attach& attach, const event::FromWorker& event);
  void heard(Worker& worker);
  void lose_worker(WorkerId id, const std::string& reason, Blame blame);
  [[nodiscard]] bool is_hung(const Worker& worker, Duration busy_for);
  [[nodiscard]] Duration lease_of(const Worker& worker);
  void expel(Worker& worker, Duration busy_for);
  void set_state(Worker& worker, WorkerState state, const std::string& reason);
  [[nodiscard]] double weight_of(const Hello& hello) const;

  // Time: coordinator.cc
  void on(const StreamArrived& event);
  void on(const StreamSent& event);
  void on(const StreamBroken& event);
  void on(const StreamUnwritable& event);
  void on(const event::WantsBytes& event);
  void on(const event::Shutdown& event);
  void on(const event::Tick& event);
  void check_liveness();
  [[nodiscard]] Duration probe_after() const;
  [[nodiscard]] Duration lost_after(const Worker& worker) const;
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
  RecentSet<std::uint64_t> expelled_{256};  ///< Boots of workers that hang.
  std::map<std::string, WorkerTotals> totals_;
  std::map<std::string, WorkerStatus> lost_;      ///< The last of each name, for status; bounded.
  std::map<std::string, LeftModel> left_models_;  ///< By name; bounded.
  std::set<RequestId> progress_due_;
  std::optional<TimePoint> next_progress_;
  std::uint64_t buffered_bytes_ = 0;
  std::uint64_t journal_bytes_ = 0;
  std::int64_t active_ = 0;
  std::uint64_t last_buffer_ = 0;
  std::uint64_t last_shard_ = 0;
  std::uint64_t last_sequence_ = 0;
  bool membership_changed_ = false;
  TimePoint next_liveness_;        ///< Nobody is silent for too long before.
  double live_weight_ = 0;         ///< Of all live workers together.
  std::int64_t live_workers_ = 0;  ///< With a weight.

  CostModel costs_;
  LoadTimes loads_;
  LevelSetting setting_ = level_settings().front();
  Levelled plan_;
  bool replan_ = false;
  std::set<RequestId> measured_;  ///< Running jobs whose samples are levelled.
  std::set<RequestId> ready_;     ///< Those of them with samples in the queue.
  std::set<WorkerId> hungry_;     ///< Workers that may have room.
  std::set<RequestId> struck_;    ///< Jobs with samples that workers were lost with.
  std::set<RequestId> alone_;     ///< Those of them with samples that wait to run alone.
  std::set<WorkerId> late_;       ///< Workers that are late.
  WorkerId kept_free_;            ///< Gets nothing, so that one of these can run on it; or 0.
  std::map<ShardId, Move> moves_;
  std::map<ShardId, Saving> saves_;
  /// All checkpoints: what they stand for, request, sample.
  std::set<std::tuple<double, RequestId, std::int64_t>> checkpoints_;
  std::uint64_t checkpoint_bytes_ = 0;   ///< Theirs, and of those on their way.
  std::map<std::string, Payer> payers_;  ///< Clients with running jobs.
  double move_seconds_ = 0.005;          ///< A moved sample is under way for so long, lately.

  std::optional<TimePoint> offers_until_;  ///< Until then recovered samples wait for their workers.
  std::optional<TimePoint> shutdown_at_;   ///< When running requests are given up.
  bool exiting_ = false;
  TimePoint started_at_;
  bool started_ = false;
  TimePoint now_;
  std::vector<Action>* out_ = nullptr;
};

}  // namespace pa
