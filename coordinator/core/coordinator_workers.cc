// Workers: how they join, how they are known to live, and how they leave.

#include <algorithm>
#include <cmath>

#include "coordinator/core/coordinator.h"
#include "shared/core/names.h"

namespace pa {
namespace {

constexpr std::size_t kLostWorkersRemembered = 64;
constexpr std::size_t kLeftModels = 1024;
/// Requests for the models of a lost worker are taken for so long, and wait for it or another.
constexpr Duration kReturn = std::chrono::minutes{1};
/// A pass may take so many times what it was measured to take, if that is more than the lease.
constexpr double kLeasePasses = 4;

}  // namespace

void Coordinator::on(const event::FromWorker& event) {
  if (const auto* hello = std::get_if<Hello>(&event.message)) {
    return on_hello(event.peer, *hello, event.who);
  }
  if (const auto* attach = std::get_if<Attach>(&event.message)) {
    return on_attach(event.peer, *attach, event);
  }

  Worker* worker = workers_.of_peer(event.peer);
  if (worker == nullptr) return send(event.peer, Rehello{});
  heard(*worker);
  if (const auto* beat = std::get_if<Heartbeat>(&event.message)) {
    if (is_hung(*worker, beat->busy_for)) return expel(*worker, beat->busy_for);
    worker->free_memory_bytes = beat->free_memory_bytes;
    worker->passes = beat->passes;
    loads_.told(worker->hello.name, beat->loaded);
    compare_holdings(*worker, beat->shards);
    ask_again(*worker);
    ask_for_late_copies(*worker);
    save_due(*worker);
    check_overdue(*worker, beat->busy_for);
    send(worker->control, HeartbeatAck{beat->sequence});
  } else if (const auto* progress = std::get_if<WorkerProgress>(&event.message)) {
    for (const ShardProgress& moved : progress->shards) {
      Shard* shard = find(moved.shard);
      if (shard == nullptr || shard->worker != worker->id) continue;
      shard->steps = moved.steps;
      shard->seconds = moved.seconds;
      if (moved.sample_steps.size() == shard->samples.size()) {
        Job& job = jobs_.at(shard->request);
        for (std::size_t i = 0; i < shard->samples.size(); ++i) {
          const std::int64_t number = shard->samples[i];
          const auto steps =
              std::clamp<std::int64_t>(moved.sample_steps[i], 0, job.admitted.steps_per_sample);
          const auto copy = shard->late.find(number);
          if (copy != shard->late.end()) copy->second.steps = steps;
          if (shard->open.contains(number))
            job.samples[static_cast<std::size_t>(number)].steps = steps;
        }
      }
      progress_due_.insert(shard->request);
      if (!next_progress_) next_progress_ = now_ + options_.progress_interval;
    }
    learn(*worker, *progress);
  } else if (const auto* yielded = std::get_if<Yielded>(&event.message)) {
    on_yielded(*worker, *yielded);
  } else if (const auto* saved = std::get_if<Saved>(&event.message)) {
    on_saved(*worker, *saved);
  } else if (const auto* done = std::get_if<SamplesDone>(&event.message)) {
    on_samples_done(*worker, *done);
  } else if (const auto* preview = std::get_if<SamplePreview>(&event.message)) {
    pass_on(*worker, *preview);
  } else if (std::holds_alternative<Draining>(event.message)) {
    worker->draining = true;
    set_state(*worker, WorkerState::kDraining, "it asked to leave");
  } else if (const auto* bye = std::get_if<Bye>(&event.message)) {
    if (bye->fault.empty()) {
      lose_worker(worker->id, "left", Blame::kNone);
    } else {
      lose_worker(worker->id, bye->fault, Blame::kSamples);
    }
  } else {
    tell(note::ProtocolError{event.peer, "worker " + worker->hello.name + " sent " +
                                             std::string(name_of(event.message))});
  }
}

void Coordinator::on_hello(PeerId peer, const Hello& hello, const std::string& who) {
  const auto reject = [&](Error error) {
    tell(note::WorkerRefused{hello.name, error});
    send(peer, Rejected{std::move(error)});
  };
  if (hello.protocol != kProtocolVersion) {
    return reject(invalid("worker " + hello.name + " speaks protocol " +
                          std::to_string(hello.protocol) + ", this coordinator " +
                          std::to_string(kProtocolVersion) + ": use programs of one version"));
  }
  if (hello.name.empty()) return reject(invalid("a worker must have a name"));
  if (expelled_.contains(hello.boot)) return reject(internal("it hangs, and is to start anew"));
  if (!who.empty() && !matches_name(who, hello.name)) {
    return reject(invalid("the key of worker " + hello.name + " is for '" + who +
                          "': give it that name, or allow its key another"));
  }
  if (!std::isfinite(hello.weight) || hello.weight < 0) {
    return reject(invalid("worker " + hello.name + " has weight " + std::to_string(hello.weight) +
                          "; expected 0 or more"));
  }
  if (hello.max_rows < 1 || hello.credit_samples < 0) {
    return reject(invalid("worker " + hello.name + " takes " + std::to_string(hello.max_rows) +
                          " rows and " + std::to_string(hello.credit_samples) +
                          " samples more; expected 1 and 0 at least"));
  }
  if (Worker* namesake = workers_.find(hello.name)) {
    if (namesake->control == peer && namesake->hello.boot == hello.boot) {  // its Welcome was lost
      heard(*namesake);
      return send(peer, Welcome{options_.epoch, namesake->id, options_.liveness.beat_interval,
                                options_.window_bytes});
    }
    const bool same_process = namesake->hello.boot == hello.boot;
    if (!same_process && now_ - namesake->last_heard < options_.liveness.suspect_after) {
      return reject(overloaded("a live worker is named " + hello.name + " already"));
    }
    if (same_process) {
      lose_worker(namesake->id, "connected anew", Blame::kNone);
    } else {
      lose_worker(namesake->id, "was replaced by a new process of its name", Blame::kSamples);
    }
  }
  if (Worker* before = workers_.of_peer(peer))
    lose_worker(before->id, "said Hello under another name", Blame::kNone);

  absolve(hello.boot);
  Worker& worker = workers_.add(hello, peer, now_);
  worker.weight = weight_of(hello);
  worker.is_remote = !who.empty();
  lost_.erase(hello.name);
  totals_[hello.name];
  send(peer,
       Welcome{options_.epoch, worker.id, options_.liveness.beat_interval, options_.window_bytes});
}

void Coordinator::on_attach(PeerId peer, const Attach& attach, const event::FromWorker& event) {
  Worker* worker = workers_.find(attach.worker);
  const bool known = worker != nullptr && worker->hello.boot == attach.boot &&
                     (event.who.empty() || matches_name(event.who, worker->hello.name));
  if (!known) return send(peer, Rehello{});
  heard(*worker);
  const bool joined = worker->state == WorkerState::kAttaching;
  if (worker->data != peer) {
    if (worker->data) {
      // Whatever was under way on the old connection may be lost with it.
      for (const ShardId shard : std::set<ShardId>(worker->shards))
        lose_shard(shard, "changed its data connection");
      emit(action::ForgetPeer{*worker->data});
    }
    workers_.attach(*worker, peer);
  }
  worker->shares = event.shares;
  if (!joined) return send(peer, Attached{worker->id, take_offers(*worker, attach, false)});
  worker->state = worker->draining ? WorkerState::kDraining : WorkerState::kLive;
  membership_changed_ = true;
  for (auto& [id, job] : jobs_) {
    if (job.identity.empty()) job.identity = workers_.identity_of(job.request.model);
  }
  send(peer, Attached{worker->id, take_offers(*worker, attach, true)});
  note::WorkerJoined joined_note{
      worker->hello.name, worker->hello.device, worker->hello.device_name,
      worker->hello.host, worker->weight,       {}};
  for (const ModelInfo& model : worker->hello.models) joined_note.models.push_back(model.name);
  tell(std::move(joined_note));
  tell(note::WorkerState{worker->hello.name, std::string(name_of(worker->state)), "joined"});
}

void Coordinator::heard(Worker& worker) {
  worker.last_heard = now_;
  worker.probed = false;
  if (worker.state != WorkerState::kSuspect) return;
  if (!worker.data) {
    worker.state = WorkerState::kAttaching;
  } else {
    set_state(worker, worker.draining ? WorkerState::kDraining : WorkerState::kLive, "heard again");
  }
}

void Coordinator::set_state(Worker& worker, WorkerState state, const std::string& reason) {
  if (worker.state == state) return;
  worker.state = state;
  membership_changed_ = true;
  tell(note::WorkerState{worker.hello.name, std::string(name_of(state)), reason});
}

void Coordinator::lose_worker(WorkerId id, const std::string& reason, Blame blame) {
  Worker* worker = workers_.find(id);
  PA_CHECK(worker != nullptr);
  worker->state = WorkerState::kSuspect;  // gets nothing while its shards are given to others
  while (!worker->shards.empty()) lose_shard(*worker->shards.begin(), reason, blame);
  late_.erase(id);
  queues_.erase(id);
  for (auto& [request, job] : jobs_) {
    const auto planned = job.planned.find(id);
    if (planned == job.planned.end()) continue;
    job.unplaced.insert(job.unplaced.end(), planned->second.begin(), planned->second.end());
    job.planned.erase(planned);
  }
  std::erase_if(left_models_, [this](const auto& entry) { return entry.second.until <= now_; });
  for (const ModelInfo& model : worker->hello.models) {
    if (left_models_.size() < kLeftModels) left_models_[model.name] = {model, now_ + kReturn};
  }
  WorkerStatus last;
  last.name = worker->hello.name;
  last.device = worker->hello.device;
  last.device_name = worker->hello.device_name;
  last.host = worker->hello.host;
  last.state = "lost";
  last.weight = worker->weight;
  const WorkerTotals& totals = totals_[last.name];
  last.samples_done = totals.samples;
  last.steps_done = totals.steps;
  last.busy_seconds = totals.busy_seconds;
  if (lost_.size() >= kLostWorkersRemembered) lost_.erase(lost_.begin());
  lost_[last.name] = last;
  tell(note::WorkerState{last.name, "lost", reason});
  emit(action::ForgetPeer{worker->control});
  if (worker->data) emit(action::ForgetPeer{*worker->data});
  loads_.forget(worker->hello.name);
  workers_.remove(id);
  membership_changed_ = true;
}

/// Whether a worker that answers has a pass under way for too long, of whichever of its requests.
bool Coordinator::is_hung(const Worker& worker, Duration busy_for) {
  const LivenessOptions& limits = options_.liveness;
  if (busy_for < std::min(limits.lease, limits.first_lease)) return false;
  // Others may have ended all that a late one had; its pass runs on.
  if (worker.shards.empty()) return worker.late && busy_for >= worker.lease;
  return busy_for >= lease_of(worker);
}

/// How long the pass of a worker that has samples may take.
Duration Coordinator::lease_of(const Worker& worker) {
  const LivenessOptions& limits = options_.liveness;
  const std::optional<double> pass = longest_pass(worker);
  return std::max(limits.lease, pass ? from_seconds(kLeasePasses * *pass) : limits.first_lease);
}

/// Its process is told to end, and its samples go to others. It is not let in again.
void Coordinator::expel(Worker& worker, Duration busy_for) {
  const std::string reason = "made no progress for " + std::to_string(to_seconds(busy_for)) + " s";
  expelled_.insert(worker.hello.boot);
  send(worker.control, Rejected{internal("it " + reason + ", and is to start anew")});
  lose_worker(worker.id, reason, Blame::kSamples);
}

void Coordinator::on(const event::PeerGone& event) {
  emit(action::ForgetPeer{event.peer});
  if (Worker* worker = workers_.of_peer(event.peer))
    return lose_worker(worker->id, "its connection is gone", Blame::kSamples);
  std::vector<RequestId> given_up;
  for (auto& [id, job] : jobs_) {
    if (job.client != event.peer) continue;
    job.client.reset();
    if (job.request.op == Operation::kForward) given_up.push_back(id);
  }
  for (const RequestId& id : given_up) {  // volatile: nobody will ask again under this id's promise
    Job* job = find(id);
    if (job->active()) {
      end(*job, Error{Code::kCancelled, "the client is gone", {}});
    } else {
      erase(id);
    }
  }
  limit_retained();
}

void Coordinator::on(const event::WeightsChanged& event) {
  options_.weights = event.weights;
  if (event.scheduling) options_.scheduling = *event.scheduling;
  for (auto& [id, worker] : workers_.all()) worker.weight = weight_of(worker.hello);
  membership_changed_ = true;
}

double Coordinator::weight_of(const Hello& hello) const {
  const auto configured = options_.weights.find(hello.name);
  return configured == options_.weights.end() ? hello.weight : configured->second;
}

}  // namespace pa
