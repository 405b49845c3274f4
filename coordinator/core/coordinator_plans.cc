// What a plan says, and what it promises: for Accepted, for `pa plan`, and at admission.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

#include "coordinator/core/coordinator.h"

namespace pa {
namespace {

/// Events that the rehearsal of a plan may take; larger requests are told by rates.
constexpr std::int64_t kPlanEvents = 6000;
/// A job whose deadline leaves less than so many times what it still needs goes before others.
constexpr double kUrgent = 1.5;

std::string per_second(double rate) {
  char text[48];
  (void)std::snprintf(text, sizeof text, rate < 9.95 ? "%.2g" : "%.0f", rate);
  return std::string(text) + " steps a second";
}

}  // namespace

void Coordinator::explain(Job& job) {
  job.plan_seconds = -1;
  job.plan_limit.clear();
  if (is_static(job)) return explain_by_weight(job);
  if (job.request.op == Operation::kForward) return explain_forward(job);
  explain_levelled(job);
}

void Coordinator::explain_by_weight(Job& job) {
  job.plan = in_words(plan_by_weight(job.request.samples, candidates(job.request)));
}

std::optional<Plan> Coordinator::plan_forward(const Job& job, std::int64_t samples) {
  const std::vector<PlanCandidate> able = candidates(job.request);
  double weights = 0;
  int count = 0;
  for (const PlanCandidate& candidate : able) {
    if (!candidate.excluded.empty() || candidate.weight <= 0) continue;
    weights += candidate.weight;
    ++count;
  }
  std::deque<std::vector<double>> tables;
  std::vector<CostedCandidate> costed;
  for (const PlanCandidate& candidate : able) {
    const Worker& worker = workers_.all().at(candidate.worker);
    CostedCandidate device{candidate.worker, worker.hello.name, {}, 1, 0, candidate.excluded};
    if (device.excluded.empty() && candidate.weight <= 0) device.excluded = "weight 0";
    if (device.excluded.empty()) {
      StepCost cost = step_cost(worker, job, candidate.weight * count / weights);
      if (cost.basis == CostBasis::kNothing) return std::nullopt;
      device.limit = cost.places;
      tables.push_back(std::move(cost.seconds));
      device.cost.table = tables.back();
      if (worker.assigned > 0) {
        const double pass = device.cost(std::min(device.limit, worker.assigned));
        device.free_at = std::max(0.0, pass - to_seconds(now_ - worker.pass_began));
      }
      device.free_at += load_wait(worker, job);
    }
    costed.push_back(std::move(device));
  }
  return plan_rows(samples, costed);
}

void Coordinator::explain_forward(Job& job) {
  const std::optional<Plan> plan = plan_forward(job, job.request.samples);
  if (!plan) return explain_by_weight(job);
  job.plan = in_words(*plan);
  int used = 0;
  for (const PlanShare& share : job.plan) {
    job.plan_seconds = std::max(job.plan_seconds, share.finish_seconds);
    used += share.samples > 0 ? 1 : 0;
  }
  job.plan_limit =
      used == 1 ? "one device alone is fastest" : "the passes of the devices that share it";
}

void Coordinator::explain_levelled(Job& job) {
  View now = view(job);
  if (now.workers.empty() || now.basis == CostBasis::kNothing) return explain_by_weight(job);
  const std::size_t before = now.samples.size();
  const std::int64_t steps = job.admitted.steps_per_sample;
  if (!measured_.contains(job.id)) {
    for (std::int64_t i = 0; i < job.request.samples; ++i) {
      now.samples.emplace_back(&job, i);
      now.snapshot.samples.push_back({static_cast<int>(steps), -1, 0, 0});
    }
  }
  std::vector<std::int64_t> caps;
  std::int64_t places = 0;
  for (const LevelDevice& device : now.snapshot.devices) {
    caps.push_back(device.limit);
    places += device.limit;
  }
  const RowShares shares = best_rows(now.snapshot.devices, caps, std::ssize(now.samples));

  std::vector<std::int64_t> counts(now.workers.size());
  std::vector<double> finish(now.workers.size(), -1);
  Rehearsal rehearsal(now.snapshot, setting_);
  if (rehearsal.advance(kPlanEvents) && std::isfinite(rehearsal.finish())) {
    for (std::size_t j = before; j < now.samples.size(); ++j) {
      const Rehearsal::End& end = rehearsal.ends()[j];
      const auto device = static_cast<std::size_t>(end.device);
      ++counts[device];
      finish[device] = std::max(finish[device], end.at);
      job.plan_seconds = std::max(job.plan_seconds, end.at);
    }
  } else {
    double work = 0;
    for (const LevelSample& sample : now.snapshot.samples) work += sample.left;
    job.plan_seconds = work / shares.rate;
    std::vector<PlanCandidate> rates;
    for (std::size_t i = 0; i < now.workers.size(); ++i) {
      const std::int64_t rows = shares.rows[i];
      const double rate =
          rows == 0 ? 0 : static_cast<double>(rows) / now.snapshot.devices[i].cost(rows);
      rates.push_back({now.workers[i], rate, {}});
    }
    const Plan plan = plan_by_weight(job.request.samples, rates);
    for (std::size_t i = 0; i < now.workers.size(); ++i) {
      counts[i] = plan.shares[i].samples;
      if (counts[i] > 0) finish[i] = job.plan_seconds;
    }
  }

  const auto alone_on = [&](const LevelDevice& device) {
    return device.wait + static_cast<double>(steps) * device.cost(1);
  };
  const auto best = static_cast<std::size_t>(
      std::min_element(
          now.snapshot.devices.begin(), now.snapshot.devices.end(),
          [&](const LevelDevice& a, const LevelDevice& b) { return alone_on(a) < alone_on(b); }) -
      now.snapshot.devices.begin());
  job.plan.clear();
  for (const PlanCandidate& candidate : candidates(job.request)) {
    const Worker& worker = workers_.all().at(candidate.worker);
    PlanShare share{
        worker.hello.name, worker.hello.device, worker.weight, 0, candidate.excluded, -1};
    const auto found = std::find(now.workers.begin(), now.workers.end(), candidate.worker);
    if (found == now.workers.end()) {
      if (share.reason.empty()) share.reason = worker.weight <= 0 ? "weight 0" : "takes no part";
      job.plan.push_back(std::move(share));
      continue;
    }
    const auto i = static_cast<std::size_t>(found - now.workers.begin());
    const LevelDevice& device = now.snapshot.devices[i];
    share.samples = counts[i];
    share.finish_seconds = finish[i];
    const std::string loading =
        device.wait > 0 ? ", its model loaded first, in " + in_seconds(device.wait) : "";
    const double alone = alone_on(device);
    if (counts[i] > 0) {
      const std::int64_t rows = std::max<std::int64_t>(1, std::min(device.limit, counts[i]));
      share.reason = "ends them in " + in_seconds(finish[i]) + "; " +
                     per_second(static_cast<double>(rows) / device.cost(rows)) + ", " +
                     std::to_string(rows) + " at a time" + loading;
    } else if (alone > job.plan_seconds) {
      share.reason = "would finish " + in_seconds(alone - job.plan_seconds) + " later than " +
                     workers_.all().at(now.workers[best]).hello.name + loading;
    } else if (shares.rows[i] > 0) {
      share.reason = "runs some of their steps; a faster device ends them";
    } else {
      share.reason = "faster devices have room for all of them";
    }
    job.plan.push_back(std::move(share));
  }
  if (std::ssize(now.samples) == 1) {
    job.plan_limit = "a sample runs on one device at a time";
  } else if (std::ssize(now.samples) < places) {
    job.plan_limit = "the batch: " + std::to_string(now.samples.size()) + " samples where " +
                     std::to_string(places) + " have room";
  } else {
    job.plan_limit = "the devices: " + per_second(shares.rate) + " together";
  }
}

Status Coordinator::check_deadline(Job& job) {
  if (job.request.deadline_seconds <= 0 || is_static(job)) return {};
  double seconds = 0;
  if (job.request.op == Operation::kForward) {
    const std::optional<Plan> plan = plan_forward(job, job.request.samples);
    if (!plan) return {};
    for (const PlannedShare& share : plan->shares)
      seconds = std::max(seconds, share.finish_seconds);
  } else {
    const View now = view(job);
    if (now.workers.empty() || now.basis != CostBasis::kMeasured) return {};
    // What must be done first: that of higher priority, or due earlier.
    double work = 0;
    const double due = to_seconds(now_.time_since_epoch()) + job.request.deadline_seconds;
    for (const RequestId& id : measured_) {
      const Job& other = jobs_.at(id);
      const bool first = other.request.priority > job.request.priority ||
                         (other.request.priority == job.request.priority && other.deadline &&
                          to_seconds(other.deadline->time_since_epoch()) < due);
      if (!first) continue;
      work += static_cast<double>((other.request.samples - other.done - other.failed) *
                                  other.admitted.steps_per_sample);
    }
    const double steps = static_cast<double>(job.admitted.steps_per_sample);
    double soonest = std::numeric_limits<double>::infinity();
    for (const LevelDevice& device : now.snapshot.devices) soonest = std::min(soonest, device.wait);
    const double alone = makespan_bound(now.snapshot.devices, job.request.samples, steps);
    seconds =
        soonest + alone + work * alone / (static_cast<double>(job.request.samples) * steps) / 2;
  }
  if (seconds <= job.request.deadline_seconds) return {};
  return Error{Code::kDeadline,
               "it would take " + in_seconds(seconds) + " at least, as the devices are now; " +
                   "deadline_seconds is " + in_seconds(job.request.deadline_seconds),
               "/deadline_seconds"};
}

void Coordinator::mark_urgent(const View& now) {
  std::vector<std::int64_t> caps;
  std::int64_t places = 0;
  for (const LevelDevice& device : now.snapshot.devices) {
    caps.push_back(device.limit);
    places += device.limit;
  }
  const double rate = best_rows(now.snapshot.devices, caps, places).rate;
  for (const RequestId& id : measured_) {
    Job& job = jobs_.at(id);
    if (!job.deadline) continue;
    const auto left = static_cast<double>((job.request.samples - job.done - job.failed) *
                                          job.admitted.steps_per_sample);
    const double needs = rate > 0 ? left / rate : 0;
    job.urgent = to_seconds(*job.deadline - now_) < kUrgent * needs;
  }
}

}  // namespace pa
