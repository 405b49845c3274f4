#include "coordinator/core/coordinator.h"

#include <algorithm>

namespace pa {
namespace {

constexpr std::size_t kLostWorkersRemembered = 64;

/// In place of the number of a beat that is answered.
constexpr std::uint64_t kNoBeat = ~std::uint64_t{0};

/// Of one ClusterStatus, which has to fit a message of 1 MiB.
constexpr std::size_t kStatusBytes = 512u << 10;

/// About as much as the row takes on the wire, and not less.
std::size_t wire_bytes(const WorkerStatus& row) {
  constexpr std::size_t kKeys = 320;  // Names of fields, and numbers.
  std::size_t bytes = kKeys + row.name.size() + row.device.size() + row.device_name.size() +
                      row.host.size() + row.numerics_id.size();
  for (const ModelInfo& model : row.models) {
    bytes += kKeys + model.name.size() + model.identity.size() + model.family.size();
    for (const InputSpec& input : model.inputs) bytes += kKeys / 4 + input.name.size();
    for (const std::string& label : model.labels) bytes += label.size() + 5;
    bytes += 9 * model.colours.size();
  }
  for (const std::string& model : row.loaded) bytes += model.size() + 5;
  return bytes;
}

std::size_t wire_bytes(const RequestStatus& row) {
  constexpr std::size_t kKeys = 160;
  return kKeys + row.model.size() + row.tag.size();
}

/// Cuts `whole` into messages of about kStatusBytes at most.
std::vector<ClusterStatus> cut(ClusterStatus whole) {
  const std::vector<WorkerStatus> workers = std::exchange(whole.workers, {});
  const std::vector<RequestStatus> requests = std::exchange(whole.requests, {});
  std::vector<ClusterStatus> parts(1, whole);
  std::size_t bytes = 0;
  const auto room_for = [&](const auto& row) {
    const std::size_t more = wire_bytes(row);
    if (bytes > 0 && bytes + more > kStatusBytes) {
      parts.back().more = true;
      parts.push_back(whole);
      parts.back().part = parts.size() - 1;
      bytes = 0;
    }
    bytes += more;
  };
  for (const WorkerStatus& row : workers) {
    room_for(row);
    parts.back().workers.push_back(row);
  }
  for (const RequestStatus& row : requests) {
    room_for(row);
    parts.back().requests.push_back(row);
  }
  return parts;
}

}  // namespace

Coordinator::Coordinator(CoordinatorOptions options) : options_(std::move(options)) {
  PA_CHECK(options_.epoch != 0);
  // Shard ids of another epoch must not be mistaken for ours.
  last_shard_ = options_.epoch << 32;
  // What cannot be read is learned anew.
  if (!options_.costs.empty()) (void)costs_.load(options_.costs).ok();
}

void Coordinator::step(const Event& event, TimePoint now, std::vector<Action>& out) {
  PA_CHECK(!started_ || now >= now_);
  now_ = now;
  if (!started_) started_at_ = now;
  started_ = true;
  out_ = &out;
  std::visit([this](const auto& specific) { on(specific); }, event);
  if (membership_changed_) replace_all();
  run_alone();
  schedule();
  dispatch();
  check_shutdown();
  out_ = nullptr;
}

std::optional<TimePoint> Coordinator::next_deadline() const {
  std::optional<TimePoint> next;
  const auto consider = [&](std::optional<TimePoint> at) {
    if (at && (!next || *at < *next)) next = at;
  };
  consider(next_progress_);
  if (!timers_.empty()) consider(timers_.begin()->first);
  if (!workers_.all().empty()) consider(next_liveness_);
  consider(next_schedule());
  consider(offers_until_);
  if (!exiting_) consider(shutdown_at_);
  return next;
}

void Coordinator::on(const event::Tick&) {
  check_liveness();
  check_timers();
  check_offers();
  if (next_progress_ && now_ >= *next_progress_) {
    next_progress_.reset();
    for (const RequestId& id : std::exchange(progress_due_, {})) {
      if (Job* job = find(id)) send_progress(*job);
    }
  }
}

void Coordinator::check_liveness() {
  if (now_ < next_liveness_) return;
  std::vector<WorkerId> lost;
  for (auto& [id, worker] : workers_.all()) {
    const Duration silence = now_ - worker.last_heard;
    if (silence >= lost_after(worker)) {
      lost.push_back(id);
    } else if (silence >= options_.liveness.suspect_after) {
      set_state(worker, WorkerState::kSuspect,
                "silent for " + std::to_string(to_seconds(silence)) + " s");
    } else if (silence >= probe_after() && !worker.probed) {
      // If its process is gone, so is its connection, and this cannot be handed over: PeerGone.
      worker.probed = true;
      send(worker.control, HeartbeatAck{kNoBeat});
    }
  }
  for (const WorkerId id : lost) {
    const double silence = to_seconds(now_ - workers_.find(id)->last_heard);
    lose_worker(id, "silent for " + std::to_string(silence) + " s", Blame::kSamples);
  }
  // Until then nobody can have been silent for too long.
  next_liveness_ = now_ + probe_after();
  for (const auto& [id, worker] : workers_.all()) {
    const Duration next = worker.state == WorkerState::kSuspect ? lost_after(worker)
                          : worker.probed                       ? options_.liveness.suspect_after
                                                                : probe_after();
    next_liveness_ = std::min(next_liveness_, worker.last_heard + next);
  }
}

/// A beat that is late by so much may be the last of a process that is gone.
Duration Coordinator::probe_after() const { return options_.liveness.beat_interval * 5 / 4; }

Duration Coordinator::lost_after(const Worker& worker) const {
  return worker.is_remote ? options_.liveness.remote_lost_after : options_.liveness.lost_after;
}

void Coordinator::check_timers() {
  while (!timers_.empty() && timers_.begin()->first <= now_) {
    const RequestId id = timers_.begin()->second;
    timers_.erase(timers_.begin());
    Job* job = find(id);
    if (job == nullptr) continue;
    if (!job->active()) {
      erase(id);
    } else {
      const std::string limit = std::to_string(job->request.deadline_seconds);
      end(*job, Error{Code::kDeadline,
                      "deadline_seconds " + limit + " passed with " + std::to_string(job->done) +
                          " of " + std::to_string(job->request.samples) + " samples done",
                      "/deadline_seconds"});
    }
  }
}

void Coordinator::on(const event::Shutdown& event) {
  if (!shutdown_at_) shutdown_at_ = now_ + event.grace;
}

void Coordinator::check_shutdown() {
  if (!shutdown_at_ || exiting_) return;
  if (now_ >= *shutdown_at_) {
    std::vector<RequestId> active;
    for (const auto& [id, job] : jobs_) {
      // What the journal holds goes on in the next life.
      if (job.active() && !(options_.durable && job.journalled)) active.push_back(id);
    }
    for (const RequestId& id : active)
      end(*find(id), unavailable("the coordinator is shutting down"));
    exiting_ = true;
  } else {
    // A finished request whose client is connected is about to be acknowledged; others would be lost anyway.
    exiting_ = std::none_of(jobs_.begin(), jobs_.end(), [](const auto& entry) {
      return entry.second.active() || entry.second.client;
    });
  }
  if (exiting_) emit(action::Exit{});
}

void Coordinator::on(const StreamArrived& event) {
  switch (event.stream.kind) {
    case StreamKind::kRequestInput:
      if (Job* job = find(event.stream.request); job != nullptr && event.whole)
        inputs_complete(*job);
      return;
    case StreamKind::kShardResult:
      if (Shard* shard = find(event.stream.shard)) {
        shard->arrived = event.upto;
        complete_pending(*shard);
      }
      return;
    case StreamKind::kCheckpoint:
      if (event.whole && moves_.contains(event.stream.shard)) complete_move(event.stream.shard);
      if (event.whole && saves_.contains(event.stream.shard)) complete_save(event.stream.shard);
      return;
    case StreamKind::kRequestResult:
    case StreamKind::kShardInput:
      return;
  }
}

void Coordinator::on(const StreamSent& event) {
  if (event.stream.kind == StreamKind::kShardInput) emit(action::Close{event.stream});
}

void Coordinator::on(const StreamBroken& event) {
  if (Shard* shard = find(event.stream.shard);
      shard != nullptr && event.stream.kind == StreamKind::kShardResult) {
    lose_shard(shard->id, "protocol: it wrote outside of its samples");
  }
}

void Coordinator::on(const StreamUnwritable& event) { on(event::NoMemory{event.stream.request}); }

void Coordinator::on(const event::WantsBytes& event) {
  if (event.stream.kind == StreamKind::kShardInput) {
    const Shard* shard = find(event.stream.shard);
    const Worker* worker = shard != nullptr ? workers_.find(shard->worker) : nullptr;
    if (worker != nullptr && worker->data == event.peer) send_inputs(*worker, *shard);
  } else if (event.stream.kind == StreamKind::kRequestResult) {
    Job* job = find(event.stream.request);
    const bool known =
        job != nullptr && job->client == event.peer && event.stream == job->result_stream();
    if (known && !job->result_streamed) stream_result(*job, 0);
  }
}

Job* Coordinator::find(const RequestId& request) {
  const auto found = jobs_.find(request);
  return found == jobs_.end() ? nullptr : &found->second;
}

Shard* Coordinator::find(ShardId shard) {
  const auto found = shards_.find(shard);
  return found == shards_.end() ? nullptr : &found->second;
}

void Coordinator::check_invariants() const {
  std::uint64_t bytes = 0;
  std::uint64_t journal_bytes = 0;
  std::int64_t active = 0;
  std::set<ShardId> shards_of_jobs;
  for (const auto& [id, job] : jobs_) {
    PA_CHECK(job.id == id);
    std::int64_t waiting = std::ssize(job.unplaced) + std::ssize(job.queue) + std::ssize(job.alone);
    PA_CHECK(alone_.contains(id) == !job.alone.empty());
    PA_CHECK(ready_.contains(id) == !job.queue.empty());
    for (const Sample& sample : job.samples) {
      if (sample.move.value != 0) PA_CHECK(moves_.contains(sample.move));
      if (sample.late.value != 0) {
        PA_CHECK(sample.state == SampleState::kWaiting || sample.state == SampleState::kAssigned);
        PA_CHECK(shards_.at(sample.late).late.contains(&sample - job.samples.data()));
      }
      if (!sample.strikes.empty()) PA_CHECK(!job.active() || struck_.contains(id));
    }
    for (const auto& [worker, samples] : job.planned) {
      PA_CHECK(!samples.empty());
      waiting += std::ssize(samples);
      const auto queue = queues_.find(worker);
      PA_CHECK(queue != queues_.end() && queue->second.contains(job.key));
    }
    std::int64_t assigned = 0;
    for (const ShardId shard : job.shards) {
      const auto found = shards_.find(shard);
      PA_CHECK(found != shards_.end() && found->second.request == id);
      assigned += std::ssize(found->second.open);
      for (const std::int64_t sample : found->second.open) {
        PA_CHECK(job.samples[static_cast<std::size_t>(sample)].state == SampleState::kAssigned);
      }
      for (const auto& [sample, copy] : found->second.late) {
        PA_CHECK(job.samples[static_cast<std::size_t>(sample)].late == shard);
      }
      if (found->second.aside.value != 0) bytes += job.admitted.result_row_bytes;
      shards_of_jobs.insert(shard);
    }
    if (job.active()) {
      ++active;
      bytes += job.admitted.layout_bytes;
      if (job.state == JobState::kRunning) {
        PA_CHECK(waiting + assigned + job.done + job.failed == job.request.samples);
      }
    } else {
      PA_CHECK(waiting == 0 && assigned == 0 && job.shards.empty());
    }
    bytes += job.admitted.result_row_bytes * static_cast<std::uint64_t>(job.request.samples);
    if (job.journalled) {
      journal_bytes +=
          job.admitted.layout_bytes +
          job.admitted.result_row_bytes * static_cast<std::uint64_t>(job.samples.size());
    }
    PA_CHECK(!job.untold || (job.journalled && job.state == JobState::kDone));
    PA_CHECK(job.result_appended ==
             job.admitted.result_row_bytes * static_cast<std::uint64_t>(job.done));
  }
  std::map<WorkerId, std::int64_t> leaving;
  std::map<WorkerId, std::int64_t> inbound;
  for (const auto& [id, move] : moves_) {
    const Job& job = jobs_.at(move.request);
    PA_CHECK(job.samples[static_cast<std::size_t>(move.sample)].move == id);
    PA_CHECK(shards_.at(move.shard).open.contains(move.sample));
    bytes += move.buffer.value != 0 ? move.bytes : 0;
    ++leaving[move.from];
    ++inbound[move.to];
  }
  PA_CHECK(shards_of_jobs.size() == shards_.size());
  check_checkpoints();
  PA_CHECK(bytes + checkpoint_bytes_ == buffered_bytes_);
  PA_CHECK(journal_bytes == journal_bytes_);
  PA_CHECK(active == active_);
  for (const auto& [id, worker] : workers_.all()) {
    std::int64_t assigned = 0;
    std::int64_t hedged = 0;
    for (const ShardId shard : worker.shards) {
      const auto found = shards_.find(shard);
      PA_CHECK(found != shards_.end() && found->second.worker == id && !found->second.is_over());
      assigned += std::ssize(found->second.open);
      hedged += std::ssize(found->second.late);
    }
    PA_CHECK(assigned == worker.assigned && hedged == worker.hedged);
    PA_CHECK(worker.held() <= most_samples(worker));
    PA_CHECK(worker.late == late_.contains(id));
    PA_CHECK(worker.lone.value == 0 || worker.shards == std::set<ShardId>{worker.lone});
    PA_CHECK(worker.leaving == leaving[id] && worker.inbound == inbound[id]);
  }
  for (const WorkerId id : late_) PA_CHECK(workers_.all().contains(id));
  PA_CHECK(lost_.size() <= kLostWorkersRemembered);
}

void Coordinator::send_status(PeerId peer, std::uint64_t tag) {
  ClusterStatus whole = status(now_);
  whole.tag = tag;
  for (ClusterStatus& part : cut(std::move(whole))) send(peer, std::move(part));
}

std::int64_t Coordinator::waiting_samples() const {
  std::int64_t waiting = 0;
  for (const auto& [id, job] : jobs_) {
    waiting += std::ssize(job.unplaced) + std::ssize(job.queue) + std::ssize(job.alone);
    for (const auto& [worker, samples] : job.planned) waiting += std::ssize(samples);
  }
  return waiting;
}

ClusterStatus Coordinator::status(TimePoint now) const {
  ClusterStatus status;
  status.epoch = options_.epoch;
  status.version = options_.version;
  status.journal = options_.journal;
  status.uptime_seconds = to_seconds(now - started_at_);
  for (const auto& [id, worker] : workers_.all()) {
    WorkerStatus row;
    row.name = worker.hello.name;
    row.device = worker.hello.device;
    row.device_name = worker.hello.device_name;
    row.host = worker.hello.host;
    row.pid = worker.hello.pid;
    row.state = std::string(name_of(worker.state));
    row.weight = worker.weight;
    row.models = worker.hello.models;
    row.assigned = worker.assigned;
    if (const auto totals = totals_.find(row.name); totals != totals_.end()) {
      row.samples_done = totals->second.samples;
      row.steps_done = totals->second.steps;
      row.busy_seconds = totals->second.busy_seconds;
    }
    row.last_heard_seconds = to_seconds(now - worker.last_heard);
    row.free_memory_bytes = worker.free_memory_bytes;
    row.loaded = loads_.loaded(worker.hello.name);
    row.numerics_id = worker.hello.numerics_id;
    status.workers.push_back(std::move(row));
  }
  for (const auto& [name, row] : lost_) status.workers.push_back(row);
  for (const auto& [id, job] : jobs_) {
    RequestStatus row;
    row.request = id;
    row.model = job.request.model;
    row.tag = job.request.tag;
    row.state = job.state == JobState::kDone          ? "done"
                : job.state != JobState::kRunning     ? "receiving"
                : job.done == 0 && job.shards.empty() ? "waiting"
                                                      : "running";
    row.samples = job.request.samples;
    row.done = job.done;
    row.age_seconds = to_seconds(now - job.admitted_at);
    status.requests.push_back(std::move(row));
  }
  return status;
}

}  // namespace pa
