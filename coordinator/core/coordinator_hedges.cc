// Samples of a late worker: its pass takes several times what it should. Idle workers begin them again, the late one keeps
// its copies, and whoever ends a sample first gives its result. docs/scheduling.md.

#include <algorithm>
#include <limits>

#include "coordinator/core/coordinator.h"

namespace pa {
namespace {

/// Idle workers that are looked at; in a large cluster there are enough among them.
constexpr std::size_t kMostIdle = 64;

}  // namespace

/// Whether a sample that a late worker holds may be begun elsewhere. Not if workers were lost with it: it would take the
/// others along faster than they are found to hang.
bool Coordinator::may_be_hedged(const Job& job, const Shard& shard, std::int64_t number) const {
  const Sample& sample = job.samples[static_cast<std::size_t>(number)];
  const bool yields =
      workers_.all().at(shard.worker).hello.yields;  // It can be asked to let go of it.
  const auto move = moves_.find(sample.move);
  if (move != moves_.end() && move->second.buffer.value != 0) return false;  // It has left.
  return yields && measured_.contains(job.id) && sample.strikes.empty() && sample.late.value == 0 &&
         !shard.is_pending(number);
}

/// Samples that a late worker was asked to let go of begin where they were to go.
void Coordinator::hedge_on_their_way(const Worker& late) {
  std::vector<ShardId> asked;
  for (const auto& [id, move] : moves_) {
    if (move.from == late.id && move.buffer.value == 0) asked.push_back(id);
  }
  for (const ShardId id : asked) {
    const Move move = moves_.at(id);
    Worker* const to = workers_.find(move.to);
    Job& job = jobs_.at(move.request);
    Shard& shard = shards_.at(move.shard);
    if (to != nullptr && !to->is_stuck() && takes(*to, job) &&
        may_be_hedged(job, shard, move.sample))
      begin_copy(job, shard, move.sample, *to);
  }
}

/// Its other samples begin on workers that have nothing to do.
void Coordinator::hedge_on_idle(const Worker& late) {
  std::vector<Worker*> idle;
  for (auto& [id, worker] : workers_.all()) {
    if (worker.held() == 0 && !worker.is_stuck() && worker.state == WorkerState::kLive)
      idle.push_back(&worker);
    if (idle.size() == kMostIdle) break;
  }
  if (idle.empty()) return;
  for (const ShardId id : std::set<ShardId>(late.shards)) {
    Job& job = jobs_.at(shards_.at(id).request);
    std::vector<std::pair<Worker*, StepCost>> able;
    for (Worker* const worker : idle) {
      if (takes(*worker, job))
        able.emplace_back(worker, step_cost(*worker, job, weight_part(*worker)));
    }
    for (const std::int64_t number : std::set<std::int64_t>(shards_.at(id).open)) {
      if (!may_be_hedged(job, shards_.at(id), number)) continue;
      Worker* best = nullptr;
      double least = std::numeric_limits<double>::infinity();
      for (const auto& [worker, cost] : able) {
        if (worker->assigned >= std::min(cost.places, most_samples(*worker))) continue;
        const double step = cost.seconds[static_cast<std::size_t>(worker->assigned)];
        if (step < least) best = worker;
        least = std::min(least, step);
      }
      if (best == nullptr) break;
      begin_copy(job, shards_.at(id), number, *best);
    }
  }
}

void Coordinator::begin_copy(Job& job, Shard& shard, std::int64_t number, Worker& to) {
  Sample& sample = job.samples[static_cast<std::size_t>(number)];
  Worker& from = *workers_.find(shard.worker);
  LateCopy copy{sample.steps, sample.move};
  if (sample.move.value != 0) end_move(sample.move);
  if (sample.save.value != 0) end_save(sample.save);
  tell(note::SampleHedged{job.id, number, from.hello.name, to.hello.name, sample.steps,
                          sample.saved_steps});
  // Who wrote to the result last would not be known.
  if (shard.in_place && shard.late.empty()) send(from.control, SendRows{shard.id});
  shard.open.erase(number);
  shard.late.emplace(number, copy);
  --from.assigned;
  ++from.hedged;
  --job.devices[from.hello.name].assigned;
  sample.late = shard.id;
  sample.state = SampleState::kWaiting;
  sample.at = WorkerId{0};
  sample.steps = sample.saved_steps;
  assign(to, job, {number});
}

/// The late worker's copy is the one that counts again; the other is given up.
void Coordinator::take_back(Shard& shard, std::int64_t number) {
  Job& job = jobs_.at(shard.request);
  Sample& sample = job.samples[static_cast<std::size_t>(number)];
  Worker& worker = *workers_.find(shard.worker);
  if (sample.state == SampleState::kAssigned) {
    drop_shard(shard_of(job, number));  // It has nothing else: see assign().
    --sample.attempts;
  } else {
    take_waiting(job, number);
    if (measured_.contains(job.id)) charge(job, number, 1);
  }
  sample.state = SampleState::kAssigned;
  sample.at = worker.id;
  sample.steps = shard.late.at(number).steps;
  sample.saved_at = now_;
  forget_late_copy(shard, number);
  shard.open.insert(number);
  ++worker.assigned;
  ++job.devices[worker.hello.name].assigned;
}

void Coordinator::forget_late_copy(Shard& shard, std::int64_t number) {
  Worker& worker = *workers_.find(shard.worker);
  shard.late.erase(number);
  --worker.hedged;
  hungry_.insert(worker.id);
  jobs_.at(shard.request).samples[static_cast<std::size_t>(number)].late = ShardId{0};
}

/// Another worker has a result of one of its samples, before the pass of this shard's worker has ended: the others are
/// taken from it too.
void Coordinator::lose_late_copy(ShardId id) {
  if (shards_.at(id).open.empty() && shards_.at(id).late.size() == 1) return drop_shard(id);
  lose_shard(id, "gets on too slowly: another worker was faster with one of its samples");
}

/// Seconds of a step for what a worker has now.
double Coordinator::step_seconds(const Job& job, const Worker& worker) {
  const StepCost cost = step_cost(worker, job, weight_part(worker));
  const auto places =
      std::clamp<std::int64_t>(worker.assigned + worker.hedged, 1, std::ssize(cost.seconds));
  return cost.seconds[static_cast<std::size_t>(places - 1)];
}

/// Whether the late worker should end its copy of a sample before the other that counts.
bool Coordinator::is_ahead(const Job& job, const Worker& late, std::int64_t number,
                           const LateCopy& copy) {
  const Sample& sample = job.samples[static_cast<std::size_t>(number)];
  const Worker* const other = workers_.find(sample.at);
  if (other == nullptr) return true;
  const std::int64_t steps = job.admitted.steps_per_sample;
  return static_cast<double>(steps - copy.steps) * step_seconds(job, late) <=
         static_cast<double>(steps - sample.steps) * step_seconds(job, *other);
}

/// Its pass has ended after all. Of each sample the copy that ends sooner goes on.
void Coordinator::settle_late(Worker& worker) {
  worker.late = false;
  late_.erase(worker.id);
  for (const ShardId id : std::set<ShardId>(worker.shards)) {
    Shard& shard = shards_.at(id);
    Job& job = jobs_.at(shard.request);
    for (const auto& [number, copy] : std::map<std::int64_t, LateCopy>(shard.late)) {
      if (copy.move.value != 0) continue;  // It leaves anyway.
      if (is_ahead(job, worker, number, copy)) {
        take_back(shard, number);
      } else {
        shard.late.at(number).move = ShardId{++last_shard_};
      }
    }
  }
  ask_for_late_copies(worker);
}

/// Asks a worker that is late no more to let go of samples that others go on with.
void Coordinator::ask_for_late_copies(const Worker& worker) {
  if (worker.hedged == 0 || worker.late) return;
  for (const ShardId id : worker.shards) {
    for (const auto& [number, copy] : shards_.at(id).late) {
      send(worker.control, Yield{id, number, copy.move});
    }
  }
}

/// A worker lets go of a sample that also runs elsewhere. If it got further than the other copy, that one is given up:
/// true, and the sample is on its way to the queue as if it had never run elsewhere.
bool Coordinator::late_copy_left(Shard& shard, const Yielded& message) {
  Job& job = jobs_.at(shard.request);
  Sample& sample = job.samples[static_cast<std::size_t>(message.sample)];
  const std::int64_t ahead = message.bytes > 0 ? message.steps - sample.steps : 0;
  const Worker* const other = workers_.find(sample.at);
  const bool is_worth_moving =
      ahead > 0 &&
      (other == nullptr || static_cast<double>(ahead) * step_seconds(job, *other) > move_seconds_);
  if (!is_worth_moving) {
    forget_late_copy(shard, message.sample);
    if (shard.is_over()) drop_shard(shard.id);
    return false;
  }
  take_back(shard, message.sample);
  begin_move(job, message.sample, shard.id, WorkerId{0}, message.move);
  return true;
}

}  // namespace pa
