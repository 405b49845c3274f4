// Scheduling by measured cost: which sample goes to which worker, and which running one should move. docs/scheduling.md.

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
constexpr Duration kLevelPause = std::chrono::milliseconds{1};
constexpr Duration kLevelCost = std::chrono::microseconds{20};
/// A sample that ends within so many times what a move costs stays where it is.
constexpr double kMoveGain = 2;
/// A pass that takes so many times what it should is overdue.
constexpr double kOverdue = 2;
/// Passes that are late by less than this are not looked at.
constexpr double kShortest = 0.2;
/// A pass that takes so many times what it should, and so long, may as well never end.
constexpr double kLate = 3;
constexpr double kShortestLate = 1;
/// A device that is so much slower than believed is told of.
constexpr double kSlow = 2;
/// Rehearsing one setting takes about so long for each sample and device (docs/benchmarks.md).
constexpr double kRehearsalSeconds = 160e-9;
/// So much is not worth asking whether it pays.
constexpr double kCheapRehearsal = 5e-3;
/// Of what the samples still take, that rehearsals may take before they cost more than they save.
constexpr double kRehearsalPart = 0.1;

/// Many devices with samples of milliseconds are better given work than thought about.
bool worth_rehearsing(const LevelSnapshot& snapshot, std::size_t settings, double finish) {
  const double cost = kRehearsalSeconds * static_cast<double>(settings) *
                      static_cast<double>(snapshot.devices.size()) *
                      static_cast<double>(snapshot.samples.size());
  return cost <= kCheapRehearsal || cost <= kRehearsalPart * (finish - snapshot.now);
}

}  // namespace

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
  const LevelPlan plan = level(now.snapshot, setting_);
  apply(now, plan, true);
  if (now.workers.size() == 1) return;  // There is nothing to choose.
  if (!worth_rehearsing(now.snapshot, settings.size(), plan.finish)) return;
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
        full != nullptr && (full->is_stuck() || full->held() >= most_samples(*full)))
      continue;
    ask_to_leave(*job, number, target);
  }
  for (const WorkerId id : now.workers) {
    const Worker& worker = *workers_.find(id);
    if (worker.late) hedge_on_their_way(worker);
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

/// The job that `worker` is to take a sample of. Among those of one priority it prefers one whose model is in its
/// memory, for as long as it may.
Job* Coordinator::next_job(const Worker& worker, const std::set<RequestId>& without) {
  Job* best = nullptr;
  Job* at_hand = nullptr;  // The best of those that need no loading.
  const auto rank = [&](const Job& job) {
    const double deadline = job.urgent ? to_seconds(job.deadline->time_since_epoch()) : 0;
    return std::tuple(job.key.negative_priority, !job.urgent, deadline,
                      payers_.at(job.payer).served, job.served, job.key.sequence);
  };
  for (const RequestId& id : ready_) {
    Job& job = jobs_.at(id);
    if (without.contains(id) || !takes(worker, job)) continue;
    if (best == nullptr || rank(job) < rank(*best)) best = &job;
    if ((at_hand == nullptr || rank(job) < rank(*at_hand)) && is_at_hand(worker, job))
      at_hand = &job;
  }
  if (at_hand == nullptr || at_hand == best ||
      at_hand->key.negative_priority != best->key.negative_priority)
    return best;
  return may_change(worker, *best, load_wait(worker, *best)) ? best : at_hand;
}

/// Whether the plan says how many samples `worker` should have of jobs like this one.
bool Coordinator::is_planned(const Worker& worker, const Job& job) {
  const Job* const reference = plan_.active ? find(plan_.reference) : nullptr;
  return worker.places >= 0 && reference != nullptr && share_passes(job, *reference);
}

/// How many samples `worker` should have while it takes some of this job; 0: it is to take none.
std::int64_t Coordinator::places_for(const Worker& worker, const Job& job) {
  if (is_planned(worker, job)) return worker.places;
  const double load = is_at_hand(worker, job) ? 0 : load_wait(worker, job);
  if (load > 0 && !may_change(worker, job, load) && seconds_to_take(job) < load) return 0;
  return step_cost(worker, job, weight_part(worker)).places;
}

/// Counts the passes that a sample still takes for its client, or takes them back (-1).
void Coordinator::charge(Job& job, std::int64_t number, double sign) {
  const Sample& sample = job.samples[static_cast<std::size_t>(number)];
  const double rows = sign * static_cast<double>(job.admitted.steps_per_sample - sample.steps) *
                      job.admitted.passes_per_step *
                      static_cast<double>(job.admitted.rows_per_sample);
  job.served += rows;
  Payer& payer = payers_.at(job.payer);
  payer.served += rows / payer.weight;
}

void Coordinator::feed_worker(Worker& worker) {
  if (worker.state != WorkerState::kLive || worker.is_stuck() || kept_from_others(worker)) return;
  const std::int64_t most = most_samples(worker);
  std::map<RequestId, std::vector<std::int64_t>> given;
  std::int64_t held = worker.held() - worker.leaving;
  std::int64_t all = worker.held();
  std::set<RequestId> without;  // Jobs that have no place here.
  while (!ready_.empty() && all < most) {
    Job* const job = next_job(worker, without);
    if (job == nullptr) break;
    if (plan_.hold > 0 && is_planned(worker, *job)) break;
    const std::int64_t places = places_for(worker, *job);
    if (places == 0) {
      without.insert(job->id);
      continue;
    }
    if (held >= places) break;
    const std::int64_t sample = job->queue.begin()->second;
    dequeue(*job, sample);
    if (job->request.deterministic && job->pinned.empty()) job->pinned = worker.hello.numerics_id;
    given[job->id].push_back(sample);
    charge(*job, sample, 1);
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
  bool is_any_idle = false;
  for (const WorkerId id : std::exchange(hungry_, {})) {
    Worker* const worker = workers_.find(id);
    if (worker == nullptr) continue;
    feed_worker(*worker);
    is_any_idle = is_any_idle || worker->held() == 0;
  }
  hungry_.clear();
  if (!is_any_idle) return;
  for (const WorkerId id : std::set<WorkerId>(late_)) hedge_on_idle(*workers_.find(id));
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
  if (!progress.passes.empty()) pass_ended(worker);
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

/// Seconds that the running pass of a worker should take at most, of whichever of its requests it is; nullopt if it has
/// some of a kind that was hardly run there.
std::optional<double> Coordinator::longest_pass(const Worker& worker) {
  double longest = 0;
  for (const ShardId id : worker.shards) {
    const Job& job = jobs_.at(shards_.at(id).request);
    const CostModel::Estimate estimate = costs_.estimate(device_of(worker), job.kind, 1);
    if (estimate.basis != CostBasis::kMeasured || estimate.times->passes_seen() < 3)
      return std::nullopt;
    const std::int64_t samples = worker.assigned + worker.hedged;
    const std::int64_t rows =
        std::clamp<std::int64_t>(samples * job.admitted.rows_per_sample, 1, worker.hello.max_rows);
    longest = std::max(longest, estimate.times->cost()(rows));
  }
  return longest;
}

/// It is not stuck, if it was.
void Coordinator::pass_ended(Worker& worker) {
  if (!worker.is_stuck()) return;
  replan_ = replan_ || plan_.active;
  hungry_.insert(worker.id);
  worker.overdue = 1;
  if (worker.late) settle_late(worker);
}

void Coordinator::check_overdue(Worker& worker, Duration busy_for) {
  if (busy_for <= Duration{0}) return pass_ended(worker);  // If it told so, that was lost.
  if (worker.shards.empty()) return;
  worker.pass_began = now_ - busy_for;
  const std::optional<double> expected = longest_pass(worker);
  if (!expected) return;
  const double seconds = to_seconds(busy_for);
  if (seconds >= std::max(kLate * *expected, kShortestLate)) {
    replan_ = replan_ || (plan_.active && !worker.late);
    worker.late = true;
    late_.insert(worker.id);
    worker.lease = lease_of(worker);
    hedge_on_their_way(worker);
    hedge_on_idle(worker);
  }
  if (seconds < kOverdue * *expected * worker.overdue || seconds < kShortest) return;
  // It takes at least so long; for how long it goes on like that, its next passes will tell.
  worker.overdue = seconds / *expected;
  tell(note::DeviceSlow{worker.hello.name, worker.overdue});
  replan_ = replan_ || plan_.active;
}

}  // namespace pa
