#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "shared/core/recent_set.h"
#include "shared/core/time.h"
#include "worker/core/actions.h"

namespace pa {

struct WorkerOptions {
  Hello hello;                                               ///< What it says of itself.
  Duration hello_interval = std::chrono::milliseconds{500};  ///< Between tries to join.
  Duration silence =
      std::chrono::seconds{3};  ///< Of the coordinator, before a fresh connection is made.
  Duration progress_interval = std::chrono::milliseconds{100};
  Duration resend = std::chrono::seconds{2};  ///< Of results that were not taken.
  Duration keep =
      std::chrono::minutes{2};      ///< Without a coordinator, what it runs goes on for so long.
  std::optional<Duration> give_up;  ///< Without a coordinator for so long: exit; else never.
};

/// Where a worker stands with its coordinator.
enum class SessionState : std::uint8_t {
  kIdle,       ///< Not ready yet.
  kJoining,    ///< Hello sent, no Welcome yet.
  kAttaching,  ///< Welcome came; Attach sent on data.
  kLive,       ///< Gets work.
  kGone,       ///< Said Bye, or was refused for good.
};

/// Everything a worker decides, and nothing it does: no socket, no thread, no clock, no tensor.
///
/// Keeps one session with the coordinator and its shards, which go on while there is none. As a new session (another
/// WorkerId) begins, it offers what it runs and what nobody has taken, and drops what the coordinator does not want of it.
///
/// Thread: loop only. Events at equal `now` apply in call order.
class WorkerCore {
 public:
  explicit WorkerCore(WorkerOptions options);

  /// Appends to `out` what must be done because of `event`.
  /// `now` must not run backwards.
  void step(const WorkerEvent& event, TimePoint now, std::vector<WorkerAction>& out);

  /// When to call step(Tick{}) at the latest; nullopt if nothing waits.
  [[nodiscard]] std::optional<TimePoint> next_deadline() const;

  /// Aborts naming the broken rule. Tests call it after every step.
  void check_invariants() const;

  [[nodiscard]] SessionState state() const { return state_; }
  [[nodiscard]] std::size_t shards_held() const { return shards_.size(); }

  [[nodiscard]] bool holds(ShardId shard) const { return shards_.contains(shard); }

  /// Whether the coordinator still counts on this worker, as far as one can know here: what is written
  /// to shared memory later than that might be in another's way.
  [[nodiscard]] bool may_write(TimePoint now) const {
    return state_ == SessionState::kLive && now - last_heard_ < options_.silence;
  }

 private:
  /// A sample that was asked to leave.
  struct Leaving {
    ShardId move;
    std::optional<Yielded> told;  ///< It has left. Sent again until Revoke, or until it is taken.
    BufferId state;
    bool taken = false;
    bool dropped = false;  ///< Nobody wants it any more; nothing is told.
  };

  /// A sample that has ended well, until Revoke.
  struct Finished {
    SampleReport report;
    BufferId rows;
    std::uint64_t offset = 0;  ///< Of its row in them.
  };

  /// A sample whose state was asked for.
  struct Saving {
    ShardId save;
    BufferId state;  ///< Told of, and not taken; 0: not there, or taken.
  };

  /// A shard from Assign to Revoke.
  struct Held {
    Assign assign;
    std::optional<Request> body;  ///< Until the engine has it.
    BufferId inputs;
    bool running = false;  ///< The engine has it.
    bool sending = false;  ///< Its result stream is open.
    bool shares = true;    ///< Its rows may be in the result's memory: not over a new session.
    bool offered = false;  ///< Of an earlier session, and not answered: nothing is told.
    std::int64_t rows_done = 0;                   ///< Failed ones included.
    std::uint64_t stream_upto = 0;                ///< Bytes appended to the result stream.
    std::map<std::int64_t, Finished> finished;    ///< By sample.
    std::map<std::int64_t, SampleReport> failed;  ///< Likewise, those that have not ended well.
    std::vector<BufferId> results;
    std::vector<SamplesDone> told;  ///< Sent again until Revoke.
    TimePoint told_at;
    std::int64_t steps = 0;
    double seconds = 0;
    std::vector<std::int64_t> sample_steps;
    std::map<std::int64_t, Leaving> leaving;         ///< By sample.
    std::map<std::int64_t, Saving> saving;           ///< By sample: the last of each.
    std::map<std::int64_t, SamplePreview> previews;  ///< The newest by sample, to send.

    [[nodiscard]] StreamId checkpoint_stream(ShardId move) const {
      return {StreamKind::kCheckpoint, assign.request, move};
    }
    [[nodiscard]] StreamId input_stream() const {
      return {StreamKind::kShardInput, assign.request, assign.shard};
    }
    [[nodiscard]] StreamId result_stream() const {
      return {StreamKind::kShardResult, assign.request, assign.shard};
    }
    /// Something was told that the coordinator has not taken.
    [[nodiscard]] bool owes() const {
      return !told.empty() || std::any_of(leaving.begin(), leaving.end(), [](const auto& entry) {
        return entry.second.told && !entry.second.taken;
      });
    }
    [[nodiscard]] std::int64_t rows() const { return std::ssize(assign.samples); }
  };

  // Session: worker_session.cc
  void on(const worker_event::Ready& event);
  void on(const worker_event::FromCoordinator& event);
  void on(const worker_event::Drain& event);
  void on(const worker_event::Measured& event);
  void on(const worker_event::Tick& event);
  void on_welcome(const Welcome& welcome);
  void join();
  void lose_session(const std::string& reason);
  void leave_if_drained();
  void beat();
  void on_beat_answered(const HeartbeatAck& answer);

  // Over a new session: worker_reoffer.cc
  void begin_offers();
  [[nodiscard]] std::vector<OfferedShard> offers() const;
  [[nodiscard]] std::vector<OfferedSample> offered(const Held& held) const;
  void settle_offers(const std::vector<KeptShard>& kept);
  void keep_only(Held& held, const std::vector<std::int64_t>& samples);

  // Shards: worker_shards.cc
  void on(const worker_event::Assigned& event);
  void on(const worker_event::Reported& event);
  void on(const worker_event::NoMemory& event);
  void on(const StreamArrived& event);
  void on(const StreamSent& event);
  void on(const StreamBroken& event);
  void on(const StreamUnwritable& event);
  void on_report(const RowsFinished& rows, bool in_place);
  void on_report(const ShardMoved& moved);
  void on_report(const PassDone& pass);
  void on_report(const SampleLeft& left);
  void on_report(const SampleSaved& saved);
  void on_report(const PreviewMade& preview);
  void on_report(const DeviceBroken& broken);
  void on_yield(const Yield& yield);
  void on_send_rows(const SendRows& message);
  void on_save(const Save& save);
  void end_saving(Held& held, std::int64_t sample);
  void release_state(Held& held, Leaving& leaving);
  void run(Held& held);
  [[nodiscard]] static Blobs blobs_of(const Held& held);
  void fail_all(Held& held, const Error& error);
  void deliver(Held& held, const std::vector<SampleReport>& reports, bool in_place);
  void tell_done(Held& held, SamplesDone message);
  void resend_results();
  void forget(ShardId shard, bool cancel);
  void drop_all(const std::string& reason);
  void send_progress();

  void emit(WorkerAction action) { out_->push_back(std::move(action)); }
  void tell(WorkerNote note) { out_->push_back(std::move(note)); }
  void control(Message message) { emit(worker_action::SendControl{std::move(message)}); }
  void data(Message message) { emit(worker_action::SendData{std::move(message)}); }

  WorkerOptions options_;
  SessionState state_ = SessionState::kIdle;
  WorkerId id_;
  std::uint64_t epoch_ = 0;
  Duration beat_interval_ = std::chrono::milliseconds{500};
  std::uint64_t window_ = 0;  ///< Results that may be under way.
  std::uint64_t beats_ = 0;
  std::uint64_t passes_ = 0;
  std::int64_t free_memory_bytes_ = -1;
  std::vector<LoadedModel> loaded_;  ///< In the device's memory.
  TimePoint next_session_;           ///< Next Hello or Attach.
  TimePoint next_beat_;
  TimePoint last_beat_;
  TimePoint last_heard_;
  TimePoint alone_since_;
  std::optional<TimePoint> next_progress_;
  TimePoint last_tick_;
  std::optional<TimePoint> busy_since_;  ///< Start of the running pass, as far as reports tell.
  bool draining_ = false;
  std::map<ShardId, Held> shards_;
  std::set<ShardId> moved_;               ///< With progress to send.
  std::vector<PassReport> pass_reports_;  ///< To send likewise; bounded.
  RecentSet<ShardId> over_{4096};         ///< Revoked; a late Assign does not run one again.
  std::uint64_t last_buffer_ = 0;
  TimePoint now_;
  std::vector<WorkerAction>* out_ = nullptr;
};

}  // namespace pa
