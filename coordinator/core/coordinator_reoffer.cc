// What workers still hold of an earlier session, with this coordinator or the one before it.

#include <algorithm>

#include "coordinator/core/coordinator.h"

namespace pa {

/// Samples of recovered requests wait a little: their workers may still be running them.
bool Coordinator::awaits_offers(const Job& job) const {
  return job.recovered && offers_until_ && now_ < *offers_until_;
}

void Coordinator::check_offers() {
  if (!offers_until_ || now_ < *offers_until_) return;
  offers_until_.reset();
  membership_changed_ = true;
}

/// Answers what a worker offers as it attaches. Samples that are wanted of it are its own from here on.
std::vector<KeptShard> Coordinator::take_offers(Worker& worker, const Attach& attach, bool joined) {
  std::vector<KeptShard> kept;
  for (const OfferedShard& offer : attach.offers) {
    KeptShard answer{offer.shard, {}};
    if (joined) {
      answer.samples = adopt(worker, offer);
    } else if (const Shard* shard = find(offer.shard); shard && shard->worker == worker.id) {
      answer.samples.assign(shard->open.begin(), shard->open.end());  // The answer was lost.
    }
    if (!answer.samples.empty()) kept.push_back(std::move(answer));
  }
  return kept;
}

/// The job that an offer speaks of, if this worker may go on with it.
Job* Coordinator::job_of(const Worker& worker, const OfferedShard& offer) {
  // An id that we never gave, or that is in use, is no shard of ours.
  if (offer.shard.value > last_shard_ || find(offer.shard) != nullptr) return nullptr;
  Job* const job = find(offer.request);
  if (job == nullptr || job->state != JobState::kRunning) return nullptr;
  if (job->request.op != Operation::kSample) return nullptr;
  // A request that was recovered goes on from any earlier life; else only this running of it counts.
  const bool same_run =
      offer.run == job->run || (job->recovered && (offer.run >> 32) < options_.epoch);
  const ModelInfo* const model = model_of(worker, job->request.model);
  if (!same_run || model == nullptr || model->identity != job->identity) return nullptr;
  if (!job->pinned.empty() && job->pinned != worker.hello.numerics_id) return nullptr;
  const auto& samples = offer.samples;
  const bool ascending =
      std::adjacent_find(samples.begin(), samples.end(), std::greater_equal<>()) == samples.end();
  if (samples.empty() || !ascending || samples.front() < 0 ||
      samples.back() >= job->request.samples) {
    return nullptr;
  }
  return job;
}

/// The samples of an offered shard that this worker goes on with, ascending.
std::vector<std::int64_t> Coordinator::adopt(Worker& worker, const OfferedShard& offer) {
  Job* job = job_of(worker, offer);
  if (job == nullptr) return {};
  Shard shard;
  shard.id = offer.shard;
  shard.request = offer.request;
  shard.worker = worker.id;
  shard.attempt = std::max<std::int64_t>(offer.attempt, 1);
  shard.assigned_at = now_;
  shard.samples = offer.samples;
  std::int64_t steps = 0;
  for (const OfferedSample& held : offer.held) {
    if (!std::binary_search(offer.samples.begin(), offer.samples.end(), held.sample)) continue;
    if (worker.held() >= most_samples(worker)) break;
    Sample& sample = job->samples[static_cast<std::size_t>(held.sample)];
    if (sample.state == SampleState::kAssigned && held.done) give_up_copy(*job, held.sample);
    if (sample.state != SampleState::kWaiting) continue;
    take_waiting(*job, held.sample);
    sample.state = SampleState::kAssigned;
    sample.at = worker.id;
    sample.attempts = std::max(sample.attempts, shard.attempt);
    sample.steps = std::clamp<std::int64_t>(held.steps, 0, job->admitted.steps_per_sample);
    sample.saved_at = now_;
    steps += sample.steps;
    ++worker.assigned;
    shard.open.insert(held.sample);
  }
  if (shard.open.empty()) return {};
  std::vector<std::int64_t> open(shard.open.begin(), shard.open.end());
  if (job->request.deterministic && job->pinned.empty()) job->pinned = worker.hello.numerics_id;
  worker.pass_began = now_;
  worker.shards.insert(shard.id);
  job->shards.insert(shard.id);
  DeviceTotals& totals = job->devices[worker.hello.name];
  totals.device = worker.hello.device;
  totals.assigned += std::ssize(open);
  if (!job->started_at) job->started_at = now_;
  emit(action::Receive{shard.result_stream(), *worker.data, job->result,
                       open.size() * job->admitted.result_row_bytes, false,
                       rows_of(open, job->admitted.result_row_bytes)});
  tell(note::ShardKept{job->id, shard.id, worker.hello.name, std::ssize(open), steps});
  shards_.emplace(shard.id, std::move(shard));
  replan_ = true;
  return open;
}

/// Takes a sample from the worker that runs it, if it has nothing else of that shard: its result is
/// there already.
void Coordinator::give_up_copy(Job& job, std::int64_t number) {
  for (const ShardId id : std::set<ShardId>(job.shards)) {
    const Shard& shard = shards_.at(id);
    if (shard.open != std::set<std::int64_t>{number} || !shard.pending.empty()) continue;
    tell(note::ShardLost{job.id, id, workers_.find(shard.worker)->hello.name, 1,
                         "another worker has its result", 0,
                         job.samples[static_cast<std::size_t>(number)].steps});
    drop_shard(id);
    Sample& sample = job.samples[static_cast<std::size_t>(number)];
    sample.state = SampleState::kWaiting;
    sample.at = WorkerId{0};
    job.unplaced.push_back(number);
    return;
  }
}

/// Out of whatever it waits in.
void Coordinator::take_waiting(Job& job, std::int64_t number) {
  std::erase(job.unplaced, number);
  if (std::erase(job.alone, number) > 0 && job.alone.empty()) alone_.erase(job.id);
  if (!job.queue.empty()) dequeue(job, number);
  for (auto& [worker, samples] : job.planned) {
    if (std::erase(samples, number) == 0) continue;
    if (!samples.empty()) return;
    const auto queue = queues_.find(worker);
    queue->second.erase(job.key);
    if (queue->second.empty()) queues_.erase(queue);
    job.planned.erase(worker);
    return;
  }
}

}  // namespace pa
