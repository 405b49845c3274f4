// Work goes where its model is in memory, unless that keeps it waiting for too long. docs/scheduling.md.

#include <algorithm>
#include <limits>

#include "coordinator/core/coordinator.h"

namespace pa {
namespace {

/// Loading that takes less is not worth waiting for.
constexpr double kShortLoad = 0.05;
/// A device keeps to its models for so many times what another takes to load, while it has work for them: while nobody
/// else has that other, and while somebody does. So at most a part of 1 / (1 + kPatience) of its time goes into loading.
constexpr double kPatience = 4;
constexpr double kPatienceServed = 16;

}  // namespace

bool Coordinator::is_in_memory(const Worker& worker, const Job& job) const {
  const ModelInfo* const info = model_of(worker, job.request.model);
  return info == nullptr || loads_.seconds(worker.hello.name, *info, job.loras) <= kShortLoad;
}

/// The last shard that this worker was given whose model is not in its memory yet; nullptr if there is none.
const Shard* Coordinator::incoming(const Worker& worker) const {
  if (!loads_.tells(worker.hello.name)) return nullptr;
  for (auto id = worker.shards.rbegin(); id != worker.shards.rend(); ++id) {
    const Shard& shard = shards_.at(*id);
    if (!is_in_memory(worker, jobs_.at(shard.request))) return &shard;
  }
  return nullptr;
}

/// Whether a worker can begin a pass of this job without loading anything but what it is loading already.
bool Coordinator::is_at_hand(const Worker& worker, const Job& job) const {
  const Shard* const coming = incoming(worker);
  return coming == nullptr ? is_in_memory(worker, job)
                           : same_weights(jobs_.at(coming->request), job);
}

/// Seconds until it could begin one.
double Coordinator::load_wait(const Worker& worker, const Job& job) const {
  const ModelInfo* const info = model_of(worker, job.request.model);
  if (info == nullptr || !loads_.tells(worker.hello.name)) return 0;
  const Shard* const coming = incoming(worker);
  if (coming == nullptr) {
    const double load = loads_.seconds(worker.hello.name, *info, job.loras);
    return load <= kShortLoad ? 0 : load;
  }
  if (same_weights(jobs_.at(coming->request), job)) {
    const double load = loads_.seconds(worker.hello.name, *info, job.loras);
    return std::max(0.0, load - to_seconds(now_ - coming->assigned_at));
  }
  // Whether there is room for both is not known: what is there now may have to go.
  return loads_.seconds_anew(worker.hello.name, *info, job.loras);
}

/// Whether `worker`, which has other work at hand, may load this job's model instead, which takes `load` seconds.
bool Coordinator::may_change(const Worker& worker, const Job& job, double load) const {
  if (job.urgent) return true;
  const auto& workers = workers_.all();
  const bool is_served = std::any_of(workers.begin(), workers.end(), [&](const auto& entry) {
    const Worker& other = entry.second;
    return other.id != worker.id && takes(other, job) && is_at_hand(other, job);
  });
  return to_seconds(now_ - worker.changed_at) > (is_served ? kPatienceServed : kPatience) * load;
}

/// Lets workers that are busy with other models read this one's files ahead, if they are to load it at all.
void Coordinator::prefetch(const Job& job) {
  const double others = seconds_to_take(job);
  for (auto& [id, worker] : workers_.all()) {
    if (worker.held() == 0 || worker.prefetched == job.request.model) continue;
    if (!takes(worker, job) || is_at_hand(worker, job)) continue;
    if (others < load_wait(worker, job)) continue;
    worker.prefetched = job.request.model;
    send(worker.control, Prefetch{job.request.model});
  }
}

/// Seconds until devices that have the job's model in memory have taken all that is queued of it; infinite if there are
/// none. Who could begin only later leaves it to them.
double Coordinator::seconds_to_take(const Job& job) {
  double rate = 0;  // Samples a second.
  for (const auto& [id, other] : workers_.all()) {
    if (!takes(other, job) || !is_at_hand(other, job)) continue;
    const StepCost cost = step_cost(other, job, weight_part(other));
    const double places = static_cast<double>(cost.places);
    rate += places / (cost.seconds[static_cast<std::size_t>(cost.places) - 1] *
                      static_cast<double>(job.admitted.steps_per_sample));
  }
  return rate > 0 ? static_cast<double>(job.queue.size()) / rate
                  : std::numeric_limits<double>::infinity();
}

}  // namespace pa
