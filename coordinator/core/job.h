#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "coordinator/core/admission.h"
#include "coordinator/core/cost_model.h"
#include "coordinator/core/planner.h"
#include "shared/core/id.h"
#include "shared/core/request.h"
#include "shared/core/time.h"
#include "shared/wire/blobs.h"
#include "shared/wire/messages.h"
#include "shared/wire/streams.h"

namespace pa {

/// Where a request stands.
enum class JobState : std::uint8_t {
  kReceiving,   ///< Its tensors are on their way.
  kJournaling,  ///< They are here, and being made durable.
  kRunning,     ///< Accepted; samples are waiting, under way or done.
  kDone,        ///< Done was sent; waits for DoneAck, or for its retention to end.
};

enum class SampleState : std::uint8_t { kWaiting, kAssigned, kDone, kFailed };

/// A worker died, hung or broke its device while it had a sample, which may be the sample's doing.
struct Strike {
  std::string worker;
  std::uint64_t boot = 0;  ///< Of its process.
  std::string reason;
};

/// One sample of a job. Waiting: queued, planned for a worker or unplaced; assigned: open in exactly one shard.
struct Sample {
  SampleState state = SampleState::kWaiting;
  std::int64_t attempts = 0;
  std::int64_t steps = 0;        ///< Done, as its worker last told.
  std::int32_t moves = 0;        ///< From worker to worker, on purpose.
  std::int32_t saved_steps = 0;  ///< Done at its checkpoint.
  double saved_worth = 0;        ///< Seconds of computing that its checkpoint stands for.
  WorkerId at;                   ///< Who has it; 0: nobody.
  ShardId late;                  ///< The shard of a late worker that has it too; 0: none.
  ShardId move;                  ///< Its Yield under way; 0: none.
  ShardId save;                  ///< Its Save under way; 0: none.
  TimePoint saved_at;            ///< Until when what it has done is saved, or was asked for.
  BufferId checkpoint;           ///< Where it goes on if its worker is lost; 0: at its start.
  std::uint64_t checkpoint_bytes = 0;
  std::vector<Strike> strikes;
};

/// Order in which jobs get devices: higher priority first, then first come.
struct JobKey {
  int negative_priority = 0;
  std::uint64_t sequence = 0;
  friend auto operator<=>(const JobKey&, const JobKey&) = default;
};

/// What one device has done for a job.
struct DeviceTotals {
  std::string device;
  std::int64_t assigned = 0;
  std::int64_t done = 0;
  std::int64_t steps = 0;  ///< Of shards that are over.
  double seconds = 0;      ///< Likewise.
};

/// A request from its admission to its end.
struct Job {
  RequestId id;
  JobKey key;
  std::uint64_t run = 0;  ///< Tells this job from another under the same id, before or after.
  JobState state = JobState::kReceiving;
  std::optional<PeerId> client;
  /// Whom the key belongs to that submitted it; empty on this box; nullopt if it was submitted to an
  /// earlier life of the coordinator.
  std::optional<std::string> owner;
  std::uint64_t client_window = 0;

  std::string body;
  Request request;
  std::vector<TensorEntry> tensors;
  ModelInfo model;  ///< That it was admitted against.
  Admitted admitted;
  BufferId input;
  Blobs blobs;  ///< In `input`: those tensors that are alike for all samples, as its owner's.
  BufferId result;
  bool client_shares = false;     ///< It can be given memory.
  bool input_shared = false;      ///< `input` can be given to workers.
  bool input_received = false;    ///< It came on a stream, not in the client's memory.
  bool result_shared = false;     ///< `result` can be given to workers and the client.
  bool result_in_client = false;  ///< `result` is memory that `client` gave for it.
  bool result_streamed = false;   ///< The result's bytes are sent to the client.
  bool recovered = false;         ///< From the journal of an earlier life.
  bool late_writers = false;      ///< A worker that lost its shard may still write to `result`.

  std::vector<Sample> samples;
  std::vector<SampleReport> reports;  ///< [samples]
  std::int64_t done = 0;
  std::int64_t failed = 0;
  std::map<WorkerId, std::deque<std::int64_t>>
      planned;                        ///< Waiting samples by the worker they are planned for.
  std::deque<std::int64_t> unplaced;  ///< Waiting samples that no live worker can take.
  std::deque<std::int64_t> alone;     ///< Waiting samples that may only run alone on a worker.
  /// Waiting samples that any worker may take that has a place: (-steps left, sample), most left first.
  std::set<std::pair<std::int64_t, std::int64_t>> queue;
  PassKind kind;
  std::string loras;              ///< key_of() its set.
  std::uint64_t state_bytes = 0;  ///< Of a sample's state, as far as is known; 0: not yet.
  double save_cost = 0;           ///< Seconds that a worker needs to write one down, at most.
  std::string identity;           ///< Of the model's files, on most workers.
  std::string pinned;        ///< numerics_id of a deterministic request's workers; empty: not yet.
  std::string payer;         ///< Whose share of the cluster it uses.
  bool shares = false;       ///< Counted among the payer's.
  double served = 0;         ///< Passes given to it, in rows.
  bool urgent = false;       ///< Its deadline is near: it goes before others of its priority.
  std::string waiting_for;   ///< Why there are unplaced ones.
  std::set<ShardId> shards;  ///< Those with samples still assigned.
  std::vector<PlanShare> plan;  ///< As of admission.
  double plan_seconds = -1;     ///< Likewise, as Accepted.
  std::string plan_limit;
  std::map<std::string, DeviceTotals> devices;  ///< By worker name.

  TimePoint admitted_at;
  std::optional<TimePoint> started_at;  ///< First sample under way.
  std::optional<TimePoint> deadline;
  TimePoint ended_at;
  std::uint64_t result_appended = 0;  ///< Bytes given to the result stream.
  Done outcome;                       ///< Meaningful in kDone.
  bool journalled = false;            ///< The journal was given it.
  bool untold = false;                ///< `outcome` is kept from the client until it is durable.
  bool progress_due = false;

  [[nodiscard]] StreamId input_stream() const {
    return {StreamKind::kRequestInput, id, ShardId{0}};
  }
  [[nodiscard]] StreamId result_stream() const {
    return {StreamKind::kRequestResult, id, ShardId{run}};
  }
  [[nodiscard]] bool active() const { return state != JobState::kDone; }
};

/// What a late worker still has of a sample that was begun again elsewhere.
struct LateCopy {
  std::int64_t steps = 0;  ///< Done, as it last told.
  ShardId move;            ///< The Yield that it was sent; 0: none.
};

/// The samples of one job that one worker holds, from Assign to the last SamplesDone.
struct Shard {
  ShardId id;
  RequestId request;
  WorkerId worker;
  std::int64_t attempt = 1;
  TimePoint assigned_at;
  std::vector<std::int64_t> samples;      ///< As assigned, ascending.
  bool in_place = false;                  ///< The worker may write to the result.
  std::set<std::int64_t> open;            ///< Samples not finished, and not gone elsewhere.
  std::map<std::int64_t, LateCopy> late;  ///< Samples not finished that run elsewhere too.
  /// Where the row of its only sample goes until that ends, since a late worker may write to the result; 0: it goes there
  /// at once.
  BufferId aside;
  std::uint64_t arrived = 0;        ///< Bytes of the result stream that are here.
  std::uint64_t announced = 0;      ///< Bytes that SamplesDone messages have spoken of.
  std::deque<SamplesDone> pending;  ///< Announced, bytes not here yet.
  /// Those that arrived before one that was sent earlier, by where their bytes begin.
  std::multimap<std::uint64_t, SamplesDone> early;
  std::int64_t steps = 0;
  double seconds = 0;

  /// Whether the sample's end was announced, and its bytes are still on their way.
  [[nodiscard]] bool is_pending(std::int64_t sample) const;
  /// Whether its worker has nothing more to do for it.
  [[nodiscard]] bool is_over() const { return open.empty() && late.empty(); }
  [[nodiscard]] StreamId input_stream() const { return {StreamKind::kShardInput, request, id}; }
  [[nodiscard]] StreamId result_stream() const { return {StreamKind::kShardResult, request, id}; }
};

/// The state of a running sample on its way here.
struct Saving {
  ShardId id;
  RequestId request;
  std::int64_t sample = 0;
  ShardId shard;
  double worth = 0;  ///< As Sample.saved_worth.
  BufferId buffer;   ///< For the state, which is coming; 0: it was asked for.
  std::uint64_t bytes = 0;
  std::int64_t steps = 0;

  [[nodiscard]] StreamId stream() const { return {StreamKind::kCheckpoint, request, id}; }
};

/// A running sample on its way from one worker to another.
struct Move {
  ShardId id;
  RequestId request;
  std::int64_t sample = 0;
  ShardId shard;  ///< That it leaves.
  WorkerId from;
  WorkerId to;         ///< 0: to the queue.
  TimePoint asked_at;  ///< Yield was last sent.
  TimePoint left_at;   ///< Meaningful once `buffer` is set.
  BufferId buffer;     ///< For its state, which is coming; 0: it has not left.
  std::uint64_t bytes = 0;
  std::int64_t steps = 0;

  [[nodiscard]] StreamId stream() const { return {StreamKind::kCheckpoint, request, id}; }
};

/// Whether both run on the same model with the same LoRAs.
[[nodiscard]] bool same_weights(const Job& a, const Job& b);

/// Whether samples of both can be in one pass.
[[nodiscard]] bool share_passes(const Job& a, const Job& b);

/// Where the rows of `samples` (ascending) lie in a request's result.
[[nodiscard]] std::vector<Range> rows_of(const std::vector<std::int64_t>& samples,
                                         std::uint64_t row_bytes);

}  // namespace pa
