#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "shared/core/id.h"
#include "shared/core/request.h"
#include "shared/core/time.h"
#include "shared/wire/messages.h"

namespace pa {

/// Attaching: welcomed, its data connection is not there yet. Suspect and draining get no new work.
enum class WorkerState : std::uint8_t { kAttaching, kLive, kSuspect, kDraining };

[[nodiscard]] std::string_view name_of(WorkerState state);

/// A registered worker, from Hello to its loss.
struct Worker {
  WorkerId id;
  Hello hello;
  PeerId control;
  std::optional<PeerId> data;
  bool shares = false;  ///< It can be given memory.
  WorkerState state = WorkerState::kAttaching;
  bool draining = false;  ///< Asked to leave; survives a spell of silence.
  TimePoint last_heard;
  bool probed = false;        ///< Since then, it was sent something to see whether it can be.
  bool is_remote = false;     ///< On another box, as far as its connection tells.
  double weight = 1;          ///< Its own, or the owner's override.
  std::int64_t assigned = 0;  ///< Samples it holds.
  std::int64_t hedged = 0;    ///< Samples it holds besides, which were begun again elsewhere.
  std::set<ShardId> shards;
  std::int64_t free_memory_bytes = -1;
  std::uint64_t passes = 0;
  std::string
      prefetched;  ///< The model that it was last told to read ahead, and was not given work of since.
  TimePoint changed_at;  ///< It was last given work whose model was not in its memory, or joined.

  std::int64_t places = -1;  ///< Samples it should have at a time, by the plan; -1: as many as fit.
  std::int64_t leaving = 0;  ///< Of those it holds, samples asked to leave.
  std::int64_t inbound = 0;  ///< Samples that are on their way to it from elsewhere.
  ShardId lone;              ///< Its only shard, of one sample that may not run with others; or 0.
  double overdue = 1;        ///< Its running pass takes so many times what it should, at least.
  bool late = false;         ///< So many times that its samples are begun again elsewhere.
  Duration lease{};          ///< Of that pass: then it hangs. Meaningful if it is late.
  TimePoint
      pass_began;  ///< The pass it last told of, or its first work; meaningful if it holds any.

  /// Whether its pass should have ended long ago. It gets nothing until that has: what follows may take as long.
  [[nodiscard]] bool is_stuck() const { return overdue > 1 || late; }
  /// Samples that it has, or is about to have.
  [[nodiscard]] std::int64_t held() const { return assigned + hedged + inbound; }
};

/// Samples that a worker may hold, those on their way to it included: a pass of them, and its credit.
[[nodiscard]] inline std::int64_t most_samples(const Worker& worker) {
  return worker.hello.max_rows + std::max<std::int64_t>(worker.hello.credit_samples, 1);
}

/// What a worker of this name has done since the coordinator started, over all its registrations.
struct WorkerTotals {
  std::int64_t samples = 0;
  std::int64_t steps = 0;
  double busy_seconds = 0;
};

/// How long silence may last. See Heartbeat.
struct LivenessOptions {
  Duration beat_interval = std::chrono::milliseconds{500};
  Duration suspect_after = std::chrono::milliseconds{1500};
  Duration lost_after = std::chrono::seconds{3};
  Duration remote_lost_after = std::chrono::seconds{5};  ///< Of those on other boxes.
  Duration lease = std::chrono::seconds{10};  ///< Of a pass, or four times what it should take.
  Duration first_lease = std::chrono::minutes{10};  ///< Of one of which nothing is known yet.
};

/// The workers there are, found by id, name or connection.
class WorkerTable {
 public:
  /// Adds a worker under a new id. Its name must not be taken.
  Worker& add(const Hello& hello, PeerId control, TimePoint now);
  void attach(Worker& worker, PeerId data);
  void remove(WorkerId id);

  [[nodiscard]] Worker* find(WorkerId id);
  [[nodiscard]] Worker* find(const std::string& name);
  /// The worker that speaks on this connection, control or data.
  [[nodiscard]] Worker* of_peer(PeerId peer);

  [[nodiscard]] std::map<WorkerId, Worker>& all() { return workers_; }
  [[nodiscard]] const std::map<WorkerId, Worker>& all() const { return workers_; }

  /// The identity under which most workers have a model of this name (ties: the smaller worker id), or empty.
  [[nodiscard]] std::string identity_of(const std::string& model) const;
  /// The model as the workers with that identity describe it; nullptr if nobody has it.
  [[nodiscard]] const ModelInfo* model(const std::string& name) const;
  /// Names of all models that some worker has.
  [[nodiscard]] std::set<std::string> model_names() const;

 private:
  std::map<WorkerId, Worker> workers_;
  std::map<PeerId, WorkerId> peers_;
  std::uint64_t last_id_ = 0;
};

/// Whether the request may run on this worker, as far as it names those that may.
[[nodiscard]] bool asks_for(const Request& request, const Worker& worker);

/// The first LoRA of a request that `info` has not as `reference` has it; empty: none.
[[nodiscard]] std::string other_lora(const Request& request, const ModelInfo& reference,
                                     const ModelInfo& info);

/// The model of this name on this worker, or nullptr.
[[nodiscard]] const ModelInfo* model_of(const Worker& worker, const std::string& name);

}  // namespace pa
