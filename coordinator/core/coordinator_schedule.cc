// Scheduling by measured cost: which sample goes to which worker, and which running one moves. docs/scheduling.md.

#include <algorithm>
#include <cmath>

#include "coordinator/core/coordinator.h"

namespace pa {
namespace {

/// Beyond so many unfinished samples all devices are full for long: levelling waits until fewer are left.
constexpr std::int64_t kMaxLevelled = 2048;
/// Rehearsed events in one step of the coordinator, so that it answers others meanwhile.
constexpr std::int64_t kEventsPerStep = 300;
/// Before a request's first sample is handed out, its rehearsal is waited for, so many steps at most.
constexpr int kHoldSteps = 20;
/// A level() costs about so much a sample; so often it may run, at most, as its part of the time.
constexpr Duration kLevelCost = std::chrono::microseconds{20};
constexpr Duration kLevelPause = std::chrono::milliseconds{1};
/// A Yield that was not answered is sent again.
constexpr Duration kYieldAgain = std::chrono::milliseconds{500};
/// Seconds that a move takes where none is possible.
constexpr double kNever = 1e6;
/// A sample that ends within so many times what a move costs stays where it is.
constexpr double kMoveGain = 2;
/// A pass that takes so many times what it should is overdue.
constexpr double kOverdue = 2;
/// Passes that are late by less than this are not looked at.
constexpr double kShortest = 0.2;
/// A device that is so much slower than believed is told of.
constexpr double kSlow = 2;

}  // namespace

CostModel::DeviceId Coordinator::device_of(const Worker& worker) {
  return {worker.hello.name, worker.hello.device_name};
}

bool Coordinator::is_static(const Job& job) const {
  return options_.scheduling == Scheduling::kStatic ||
         job.request.scheduling == Scheduling::kStatic;
}

bool Coordinator::takes(const Worker& worker, const Job& job) const {
  return !kept_from_others(worker) && can_run(worker, job);
}

bool Coordinator::can_run(const Worker& worker, const Job& job) const {
  if (worker.state != WorkerState::kLive || worker.weight <= 0) return false;
  if (!job.pinned.empty() && worker.hello.numerics_id != job.pinned) return false;
  const ModelInfo* info = model_of(worker, job.request.model);
  return info != nullptr && info->identity == job.identity;
}

double Coordinator::weight_part(const Worker& worker) const {
  return live_weight_ > 0 ? worker.weight * static_cast<double>(live_workers_) / live_weight_ : 1;
}

std::int64_t Coordinator::places_of(const Worker& worker, const Job& job,
                                    const PassEstimate& estimate) {
  const std::int64_t fit = estimate.rows_that_fit(worker.hello.max_rows);
  std::int64_t rows = job.request.deterministic ? job.admitted.rows_per_sample : fit;
  if (job.request.max_rows) rows = std::min(rows, *job.request.max_rows);
  return std::max<std::int64_t>(1, rows / job.admitted.rows_per_sample);
}

Coordinator::StepCost Coordinator::step_cost(const Worker& worker, const Job& job, double part) {
  const CostModel::Estimate estimate = costs_.estimate(device_of(worker), job.kind, part);
  const PassCost pass = estimate.times->cost();
  StepCost cost;
  cost.basis = estimate.basis;
  const std::int64_t limit = places_of(worker, job, *estimate.times);
  for (std::int64_t n = 1; n <= limit; ++n) {
    cost.seconds.push_back(worker.overdue * job.admitted.passes_per_step *
                           pass(n * job.admitted.rows_per_sample));
  }
  cost.places = PassCost{0, 0, cost.seconds}.best_rows(limit);
  return cost;
}

std::vector<std::int64_t> Coordinator::computing(const Worker& worker, const Job& job,
                                                 std::int64_t limit) const {
  // The engine takes the oldest rows first.
  std::vector<std::int64_t> samples;
  for (const ShardId id : worker.shards) {
    const Shard& shard = shards_.at(id);
    if (shard.request != job.id) continue;
    for (const std::int64_t sample : shard.open) {
      if (std::ssize(samples) == limit) return samples;
      samples.push_back(sample);
    }
  }
  return samples;
}

Job* Coordinator::job_to_level() {
  Job* best = nullptr;
  for (const RequestId& id : measured_) {
    Job& job = jobs_.at(id);
    if (best == nullptr || job.key < best->key) best = &job;
  }
  return best;
}

/// Everything about the samples and devices of `reference`, and of other jobs whose samples may share its passes.
Coordinator::View Coordinator::view(Job& reference) {
  View view;
  LevelSnapshot& s = view.snapshot;
  double parts = 0;
  for (const auto& [id, worker] : workers_.all())
    parts += takes(worker, reference) ? worker.weight : 0;
  std::map<WorkerId, int> index;
  for (const auto& [id, worker] : workers_.all()) {
    if (!takes(worker, reference)) continue;
    index[id] = static_cast<int>(view.workers.size());
    view.workers.push_back(id);
  }
  std::vector<Job*> pool;
  for (const RequestId& id : measured_) {
    Job& job = jobs_.at(id);
    if (job.kind == reference.kind && job.identity == reference.identity &&
        job.pinned == reference.pinned &&
        job.admitted.rows_per_sample == reference.admitted.rows_per_sample) {
      pool.push_back(&job);
    }
  }
  for (const WorkerId id : view.workers) {
    const Worker& worker = *workers_.find(id);
    const double part =
        parts > 0 ? worker.weight * static_cast<double>(view.workers.size()) / parts : 1;
    StepCost cost = step_cost(worker, reference, part);
    view.yields = view.yields && worker.hello.yields;
    view.basis = std::min(view.basis, cost.basis);
    LevelDevice device;
    device.limit = cost.places;
    view.costs.push_back(std::move(cost.seconds));
    device.cost.table = view.costs.back();
    s.devices.push_back(std::move(device));
  }
  s.move = view.yields ? move_seconds_ : kNever;
  for (Job* const job : pool) {
    const std::int64_t steps = job->admitted.steps_per_sample;
    for (const auto& [negative_left, sample] : job->queue) {
      view.samples.emplace_back(job, sample);
      s.samples.push_back({static_cast<int>(-negative_left), -1, 0,
                           job->samples[static_cast<std::size_t>(sample)].moves});
    }
    for (std::size_t i = 0; i < view.workers.size(); ++i) {
      const Worker& worker = *workers_.find(view.workers[i]);
      LevelDevice& device = s.devices[i];
      const std::vector<std::int64_t> running =
          computing(worker, *job, device.limit - std::ssize(device.running));
      const double takes_seconds =
          device.cost(std::max<std::int64_t>(1, std::min(device.limit, worker.assigned)));
      const double since = std::max(0.0, to_seconds(now_ - worker.pass_began));
      const double passed = std::floor(since / takes_seconds);
      for (const ShardId shard : worker.shards) {
        if (shards_.at(shard).request != job->id) continue;
        for (const std::int64_t j : shards_.at(shard).open) {
          const Sample& sample = job->samples[static_cast<std::size_t>(j)];
          std::int64_t left = std::max<std::int64_t>(1, steps - sample.steps);
          if (std::find(running.begin(), running.end(), j) != running.end()) {
            left = std::max<std::int64_t>(1, left - static_cast<std::int64_t>(passed));
            device.running.push_back(static_cast<int>(s.samples.size()));
            device.free_at = takes_seconds * (passed + 1) - since;
          }
          LevelSample level_sample{static_cast<int>(left), static_cast<int>(i), 0, sample.moves};
          const bool runs = !device.running.empty() &&
                            device.running.back() == static_cast<int>(s.samples.size());
          if (sample.move.value != 0 && !runs) {
            const auto target = index.find(moves_.at(sample.move).to);
            if (target != index.end()) {
              level_sample.device = target->second;
              level_sample.ready = s.move;
            }
          }
          if (!worker.hello.yields) level_sample.moves = 1000;  // It stays where it is.
          view.samples.emplace_back(job, j);
          s.samples.push_back(level_sample);
        }
      }
    }
  }
  return view;
}

void Coordinator::start_plan() {
  replan_ = false;
  plan_ = {};
  for (auto& [id, worker] : workers_.all()) {
    worker.places = -1;
    hungry_.insert(id);
  }
  Job* const reference = job_to_level();
  if (reference == nullptr) return;
  std::int64_t unfinished = 0;
  for (const RequestId& id : measured_) {
    const Job& job = jobs_.at(id);
    unfinished += job.request.samples - job.done - job.failed;
  }
  if (unfinished > kMaxLevelled) {
    plan_.too_many = true;
    return;
  }
  View now = view(*reference);
  if (now.workers.empty() || now.samples.empty()) return;
  mark_urgent(now);
  plan_.active = true;
  plan_.reference = reference->id;
  const std::vector<LevelSetting> settled =
      settled_settings(static_cast<int>(reference->admitted.steps_per_sample));
  const std::span<const LevelSetting> settings =
      now.yields ? level_settings() : std::span<const LevelSetting>(settled);
  const bool fresh = std::all_of(now.snapshot.samples.begin(), now.snapshot.samples.end(),
                                 [](const LevelSample& sample) { return sample.device < 0; });
  if (fresh || std::find(settings.begin(), settings.end(), setting_) == settings.end())
    setting_ = settings.front();
  apply(now, level(now.snapshot, setting_), true);
  if (now.workers.size() == 1) return;  // There is nothing to choose.
  if (fresh) plan_.hold = kHoldSteps;
  plan_.rehearsed = std::make_unique<View>(std::move(now));
  plan_.choice = std::make_unique<SettingChoice>(plan_.rehearsed->snapshot, setting_, settings);
  rehearse();
}

void Coordinator::rehearse() {
  if (!plan_.choice) return;
  const bool known = plan_.choice->advance(kEventsPerStep);
  const bool held = plan_.hold > 0;
  if (held && --plan_.hold > 0 && !known) return;
  if (!known && !held) return;
  // Known, or the best so far: who waits has waited long enough.
  const LevelSetting best = plan_.choice->setting();
  plan_.hold = 0;
  if (known) {
    plan_.choice.reset();
    plan_.rehearsed.reset();
  }
  if (best == setting_ && !held) return;
  setting_ = best;
  relevel(true);
}

void Coordinator::relevel(bool anew) {
  Job* const reference = find(plan_.reference);
  if (reference == nullptr || !measured_.contains(reference->id)) return start_plan();
  const View now = view(*reference);
  if (now.samples.empty() || now.workers.empty()) {
    plan_.active = false;
    return;
  }
  apply(now, level(now.snapshot, setting_), anew);
}

void Coordinator::apply(const View& now, const LevelPlan& plan, bool anew) {
  plan_.level_due = false;
  plan_.not_before = now_ + std::max<Duration>(kLevelPause, kLevelCost * std::ssize(now.samples));
  if (anew && std::isfinite(plan.again)) plan_.again = now_ + from_seconds(plan.again);
  for (std::size_t i = 0; i < now.workers.size(); ++i) {
    workers_.find(now.workers[i])->places = plan.rows[i];
    hungry_.insert(now.workers[i]);
  }
  for (std::size_t j = 0; j < now.samples.size(); ++j) {
    const LevelSample& sample = now.snapshot.samples[j];
    const auto& [job, number] = now.samples[j];
    const Sample& real = job->samples[static_cast<std::size_t>(number)];
    if (real.state != SampleState::kAssigned || real.move.value != 0) continue;
    const int to = plan.place[j];
    if (to == sample.device) continue;
    const Worker& from = *workers_.find(now.workers[static_cast<std::size_t>(sample.device)]);
    if (!from.hello.yields) continue;
    // Who is about to end anyway is left alone.
    const auto here = static_cast<std::size_t>(sample.device);
    const double pass = now.snapshot.devices[here].cost(
        std::max<std::int64_t>(1, std::min(now.snapshot.devices[here].limit, from.assigned)));
    if ((sample.left - 1) * pass <= kMoveGain * move_seconds_) continue;
    const WorkerId target = to < 0 ? WorkerId{0} : now.workers[static_cast<std::size_t>(to)];
    if (const Worker* full = workers_.find(target);
        full != nullptr && full->assigned + full->inbound >= most_samples(*full))
      continue;
    ask_to_leave(*job, number, target);
  }
}

void Coordinator::ask_to_leave(Job& job, std::int64_t number, WorkerId to) {
  Sample& sample = job.samples[static_cast<std::size_t>(number)];
  Worker& from = *workers_.find(sample.at);
  Move move;
  move.id = ShardId{++last_shard_};
  move.request = job.id;
  move.sample = number;
  move.from = from.id;
  move.to = to;
  move.asked_at = now_;
  for (const ShardId id : from.shards) {
    if (shards_.at(id).request == job.id && shards_.at(id).open.contains(number)) move.shard = id;
  }
  PA_CHECK(move.shard.value != 0);
  sample.move = move.id;
  ++from.leaving;
  hungry_.insert(from.id);
  if (Worker* target = workers_.find(to)) ++target->inbound;
  send(from.control, Yield{move.shard, number, move.id});
  moves_.emplace(move.id, move);
}

void Coordinator::ask_again(const Worker& worker) {
  if (worker.leaving == 0) return;
  for (auto& [id, move] : moves_) {
    if (move.from != worker.id || move.buffer.value != 0 || now_ - move.asked_at < kYieldAgain)
      continue;
    move.asked_at = now_;
    send(worker.control, Yield{move.shard, move.sample, id});
  }
}

void Coordinator::end_move(ShardId id) {
  const auto found = moves_.find(id);
  if (found == moves_.end()) return;
  const Move& move = found->second;
  if (Worker* from = workers_.find(move.from)) {
    --from->leaving;
    hungry_.insert(from->id);
  }
  if (Worker* to = workers_.find(move.to)) {
    --to->inbound;
    hungry_.insert(to->id);
  }
  if (move.buffer.value != 0) {
    emit(action::Close{move.stream()});
    emit(action::Release{move.buffer});
    buffered_bytes_ -= move.bytes;
  }
  jobs_.at(move.request).samples[static_cast<std::size_t>(move.sample)].move = ShardId{0};
  moves_.erase(found);
}

void Coordinator::on_yielded(Worker& worker, const Yielded& message) {
  Shard* const shard = find(message.shard);
  if (shard == nullptr || shard->worker != worker.id)
    return send(worker.control, Revoke{message.shard});
  const auto found = moves_.find(message.move);
  if (found == moves_.end() || found->second.buffer.value != 0) return;  // told again
  Move& move = found->second;
  Job& job = jobs_.at(move.request);
  const std::uint64_t most = most_state_bytes(job);
  if (move.shard != message.shard || move.sample != message.sample || message.bytes > most ||
      message.steps < 0 || message.steps > job.admitted.steps_per_sample) {
    return lose_shard(shard->id, "protocol: it told of a sample that left what cannot be");
  }
  move.left_at = now_;
  move.steps = message.bytes == 0 ? 0 : message.steps;
  if (message.bytes == 0) return complete_move(move.id);
  move.buffer = BufferId{++last_buffer_};
  move.bytes = message.bytes;
  buffered_bytes_ += move.bytes;
  emit(action::Allocate{move.buffer, move.bytes, job.id});
  emit(action::Receive{move.stream(), *worker.data, move.buffer, move.bytes, true});
}

void Coordinator::complete_move(ShardId id) {
  const Move move = moves_.at(id);
  Job& job = jobs_.at(move.request);
  Sample& sample = job.samples[static_cast<std::size_t>(move.sample)];
  Worker& from = *workers_.find(move.from);
  if (move.buffer.value != 0) {
    const double worth = sample.saved_worth + to_seconds(now_ - sample.saved_at);
    keep_checkpoint(job, move.sample, move.buffer, move.bytes, move.steps, worth);
    emit(action::Close{move.stream()});
    moves_.at(id).buffer = BufferId{0};  // The sample has it now.
    const double seconds = to_seconds(now_ - move.left_at);
    move_seconds_ += 0.2 * (std::min(2 * seconds, 10.0) - move_seconds_);
  }
  Shard& shard = shards_.at(move.shard);
  if (sample.save.value != 0) end_save(sample.save);
  shard.open.erase(move.sample);
  --from.assigned;
  --job.devices[from.hello.name].assigned;
  end_move(id);
  sample.state = SampleState::kWaiting;
  sample.at = WorkerId{0};
  sample.steps = sample.saved_steps;
  ++sample.moves;
  --sample.attempts;  // It is the same attempt that goes on.
  enqueue(job, move.sample);
  Worker* const to = workers_.find(move.to);
  const bool goes = to != nullptr && takes(*to, job) && !is_static(job);
  tell(note::SampleMoved{job.id, move.sample, from.hello.name, goes ? to->hello.name : "",
                         move.steps, to_seconds(now_ - move.left_at)});
  if (shard.open.empty()) drop_shard(shard.id);
  if (goes) {
    dequeue(job, move.sample);
    assign(*to, job, {move.sample});
  } else if (is_static(job)) {
    place(job);
  }
}

void Coordinator::enqueue(Job& job, std::int64_t number) {
  const Sample& sample = job.samples[static_cast<std::size_t>(number)];
  job.queue.emplace(sample.steps - job.admitted.steps_per_sample, number);
  ready_.insert(job.id);
}

void Coordinator::dequeue(Job& job, std::int64_t number) {
  const Sample& sample = job.samples[static_cast<std::size_t>(number)];
  job.queue.erase({sample.steps - job.admitted.steps_per_sample, number});
  if (job.queue.empty()) ready_.erase(job.id);
}

Job* Coordinator::next_job(const Worker& worker) {
  Job* best = nullptr;
  const auto rank = [&](const Job& job) {
    const double deadline = job.urgent ? to_seconds(job.deadline->time_since_epoch()) : 0;
    return std::tuple(job.key.negative_priority, !job.urgent, deadline,
                      payers_.at(job.payer).served, job.served, job.key.sequence);
  };
  for (const RequestId& id : ready_) {
    Job& job = jobs_.at(id);
    if (!takes(worker, job)) continue;
    if (best == nullptr || rank(job) < rank(*best)) best = &job;
  }
  return best;
}

void Coordinator::feed_worker(Worker& worker) {
  if (worker.state != WorkerState::kLive || kept_from_others(worker)) return;
  const std::int64_t most = most_samples(worker);
  std::map<RequestId, std::vector<std::int64_t>> given;
  std::int64_t held = worker.assigned - worker.leaving + worker.inbound;
  std::int64_t all = worker.assigned + worker.inbound;
  while (!ready_.empty() && all < most) {
    Job* const job = next_job(worker);
    if (job == nullptr) break;
    std::int64_t places = worker.places;
    const Job* const reference = plan_.active ? find(plan_.reference) : nullptr;
    const bool planned = places >= 0 && reference != nullptr && job->kind == reference->kind &&
                         job->pinned == reference->pinned;
    if (planned && plan_.hold > 0) break;
    if (!planned) places = step_cost(worker, *job, weight_part(worker)).places;
    if (held >= places) break;
    const std::int64_t sample = job->queue.begin()->second;
    dequeue(*job, sample);
    if (job->request.deterministic && job->pinned.empty()) job->pinned = worker.hello.numerics_id;
    given[job->id].push_back(sample);
    const double rows = static_cast<double>(job->admitted.steps_per_sample -
                                            job->samples[static_cast<std::size_t>(sample)].steps) *
                        job->admitted.passes_per_step *
                        static_cast<double>(job->admitted.rows_per_sample);
    job->served += rows;
    payers_.at(job->payer).served += rows;
    ++held;
    ++all;
  }
  for (auto& [id, samples] : given) {
    std::sort(samples.begin(), samples.end());
    assign(worker, jobs_.at(id), std::move(samples));
  }
}

void Coordinator::schedule() {
  if (replan_) start_plan();
  if (plan_.active && now_ >= plan_.again && now_ >= plan_.not_before) start_plan();
  if (plan_.choice) rehearse();
  if (plan_.active && plan_.level_due && now_ >= plan_.not_before) relevel(false);
  for (const WorkerId id : std::exchange(hungry_, {})) {
    if (Worker* worker = workers_.find(id)) feed_worker(*worker);
  }
  hungry_.clear();
}

std::optional<TimePoint> Coordinator::next_schedule() const {
  if (!plan_.active) return std::nullopt;
  if (plan_.choice) return now_;
  std::optional<TimePoint> next = std::max(plan_.again, plan_.not_before);
  if (plan_.level_due) next = std::min(*next, plan_.not_before);
  return next;
}

void Coordinator::sample_ended(Worker& worker) {
  hungry_.insert(worker.id);
  if (plan_.too_many) {
    std::int64_t unfinished = 0;
    for (const RequestId& id : measured_) {
      const Job& job = jobs_.at(id);
      unfinished += job.request.samples - job.done - job.failed;
      if (unfinished > kMaxLevelled) return;
    }
    replan_ = true;
  } else if (ready_.empty()) {
    plan_.level_due = true;
  }
}

void Coordinator::learn(Worker& worker, const WorkerProgress& progress) {
  if (progress.busy_for > Duration{0}) worker.pass_began = now_ - progress.busy_for;
  if (!progress.passes.empty()) worker.overdue = 1;
  for (const PassReport& report : progress.passes) {
    if (report.rows < 1 || report.passes < 1) continue;
    const PassKind kind{report.model, report.row};
    if (!report.fits) {
      costs_.out_of_memory(device_of(worker), kind, report.rows);
      replan_ = true;
      continue;
    }
    const CostModel::Estimate before = costs_.estimate(device_of(worker), kind, 1);
    const double expected = before.times->cost()(report.rows);
    const bool sure = before.basis == CostBasis::kMeasured && before.times->passes_seen() >= 5;
    costs_.observe(device_of(worker), kind, report.rows, report.seconds, report.passes);
    const double after = costs_.estimate(device_of(worker), kind, 1).times->cost()(report.rows);
    const double change = after / expected;
    if (!sure) {
      // What it really costs is just becoming known: plan with it.
      if (std::abs(std::log(change)) > 0.15) replan_ = replan_ || plan_.active;
      continue;
    }
    if (change > kSlow) tell(note::DeviceSlow{worker.hello.name, change});
    if (std::abs(std::log(change)) > 0.25) replan_ = replan_ || plan_.active;
  }
}

void Coordinator::check_overdue(Worker& worker, Duration busy_for) {
  if (busy_for <= Duration{0} || worker.shards.empty()) return;
  worker.pass_began = now_ - busy_for;
  const Job& job = jobs_.at(shards_.at(*worker.shards.begin()).request);
  const CostModel::Estimate estimate = costs_.estimate(device_of(worker), job.kind, 1);
  if (estimate.basis != CostBasis::kMeasured || estimate.times->passes_seen() < 3) return;
  const std::int64_t rows =
      std::min(worker.assigned * job.admitted.rows_per_sample, worker.hello.max_rows);
  if (rows < 1) return;
  const double expected = estimate.times->cost()(rows);
  const double seconds = to_seconds(busy_for);
  if (seconds < kOverdue * expected * worker.overdue || seconds < kShortest) return;
  // It takes at least so long; for how long it goes on like that, its next passes will tell.
  worker.overdue = seconds / expected;
  tell(note::DeviceSlow{worker.hello.name, worker.overdue});
  replan_ = replan_ || plan_.active;
}

}  // namespace pa
