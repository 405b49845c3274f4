// What level() is told: which worker can run what, at which cost, and what runs where now.

#include <algorithm>
#include <cmath>
#include <utility>

#include "coordinator/core/coordinator.h"

namespace pa {
namespace {

/// Seconds that a move takes where none is possible.
constexpr double kNever = 1e6;

}  // namespace

CostModel::DeviceId Coordinator::device_of(const Worker& worker) {
  return {worker.hello.name, worker.hello.device_name};
}

bool Coordinator::is_static(const Job& job) const {
  return options_.scheduling == Scheduling::kStatic ||
         job.request.scheduling == Scheduling::kStatic;
}

bool Coordinator::can_run(const Worker& worker, const Job& job) const {
  if (worker.state != WorkerState::kLive || worker.weight <= 0) return false;
  if (!job.pinned.empty() && worker.hello.numerics_id != job.pinned) return false;
  const ModelInfo* info = model_of(worker, job.request.model);
  return info != nullptr && info->identity == job.identity && asks_for(job.request, worker) &&
         other_lora(job.request, job.model, *info).empty();
}

bool Coordinator::takes(const Worker& worker, const Job& job) const {
  return !kept_from_others(worker) && can_run(worker, job);
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
    if (share_passes(job, reference)) pool.push_back(&job);
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
    device.wait = load_wait(worker, reference);
    // What has taken so long may well take as long again.
    if (worker.late) device.wait += to_seconds(now_ - worker.pass_began);
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
  for (LevelDevice& device : s.devices) {
    if (!device.running.empty()) device.free_at += std::exchange(device.wait, 0);
  }
  return view;
}

}  // namespace pa
