// Samples whose worker was lost: they run again elsewhere. One that workers keep being lost with runs alone, so that it
// takes no other with it, and is given up after a few.

#include <algorithm>
#include <tuple>

#include "coordinator/core/coordinator.h"

namespace pa {
namespace {

/// A cluster of one worker gives a sample up after so many losses more than `strikes`.
constexpr std::int64_t kMoreOfOne = 2;

std::size_t names_in(const std::vector<Strike>& strikes) {
  std::set<std::string> names;
  for (const Strike& strike : strikes) names.insert(strike.worker);
  return names.size();
}

/// "a (silent for 3 s), b (its connection is gone)".
std::string told(const std::vector<Strike>& strikes) {
  std::string words;
  for (const Strike& strike : strikes) {
    words += (words.empty() ? "" : ", ") + strike.worker + " (" + strike.reason + ")";
  }
  return words;
}

}  // namespace

void Coordinator::lose_shard(ShardId id, const std::string& reason, Blame blame) {
  const Shard shard = shards_.at(id);
  Job& job = jobs_.at(shard.request);
  const Worker& worker = *workers_.find(shard.worker);
  std::int64_t saved = 0;
  std::int64_t lost = 0;
  for (const std::int64_t i : shard.open) {
    const Sample& sample = job.samples[static_cast<std::size_t>(i)];
    saved += sample.saved_steps;
    lost += std::max<std::int64_t>(0, sample.steps - sample.saved_steps);
  }
  tell(note::ShardLost{shard.request, id, worker.hello.name, std::ssize(shard.open), reason, saved,
                       lost});
  drop_shard(id);
  if (blame == Blame::kSamples) {
    for (const auto& [i, copy] : shard.late) {
      job.samples[static_cast<std::size_t>(i)].strikes.push_back(
          {worker.hello.name, worker.hello.boot, reason});
      struck_.insert(job.id);
    }
  }
  for (const std::int64_t i : shard.open) {
    Sample& sample = job.samples[static_cast<std::size_t>(i)];
    sample.state = SampleState::kWaiting;
    sample.at = WorkerId{0};
    sample.steps = sample.saved_steps;
    if (measured_.contains(job.id)) charge(job, i, -1);  // It is not to wait behind others again.
    if (blame == Blame::kSamples && !shard.is_pending(i)) {
      sample.strikes.push_back({worker.hello.name, worker.hello.boot, reason});
      struck_.insert(job.id);
    }
    const bool may_end_yet = sample.late.value != 0;  // On the late worker.
    if (!may_end_yet && is_to_be_quarantined(sample)) {
      fail_sample(job, i, worker,
                  {Code::kWorkerLost,
                   "sample " + std::to_string(i) + " is given up: workers were lost with it " +
                       std::to_string(sample.strikes.size()) + " times: " + told(sample.strikes),
                   {}});
    } else if (!may_end_yet && sample.attempts >= options_.max_attempts) {
      fail_sample(job, i, worker,
                  {Code::kWorkerLost,
                   "sample " + std::to_string(i) + " was lost " + std::to_string(sample.attempts) +
                       " times; the last time " + worker.hello.name + " " + reason,
                   {}});
    } else if (may_only_run_alone(sample)) {
      job.alone.push_back(i);
      alone_.insert(job.id);
    } else {
      job.unplaced.push_back(i);
    }
  }
  place(job);
  if (job.done + job.failed == job.request.samples) end_if_complete(job);
}

/// Gives a waiting sample up. The rest of its request goes on.
void Coordinator::fail_sample(Job& job, std::int64_t number, const Worker& worker, Error error) {
  Sample& sample = job.samples[static_cast<std::size_t>(number)];
  tell(note::SampleGivenUp{job.id, number, error.message});
  sample.state = SampleState::kFailed;
  forget_checkpoint(job, number);
  ++job.failed;
  SampleReport& report = job.reports[static_cast<std::size_t>(number)];
  report.sample = number;
  report.worker = worker.hello.name;
  report.device = worker.hello.device;
  report.attempts = sample.attempts;
  report.failed = true;
  report.error = std::move(error);
  if (!job.journalled) return;
  emit(action::JournalSamples{job.id, job.admitted.result_row_bytes, {report}, job.result});
}

/// The next worker that is lost with it is the last: by then it is known that no other sample did it.
bool Coordinator::may_only_run_alone(const Sample& sample) const {
  return !sample.strikes.empty() && std::ssize(sample.strikes) >= options_.strikes - 1;
}

bool Coordinator::is_to_be_quarantined(const Sample& sample) const {
  const std::int64_t strikes = std::ssize(sample.strikes);
  if (strikes < options_.strikes) return false;
  return names_in(sample.strikes) >= 2 || strikes >= options_.strikes + kMoreOfOne;
}

/// Whether a sample has the worker for itself, or is about to.
bool Coordinator::kept_from_others(const Worker& worker) const {
  return worker.lone.value != 0 || worker.id == kept_free_;
}

/// Where a sample should run alone, idle or not; nullptr if no worker can run it. Best is one that it
/// has not been lost with, since a device may be at fault; then one that is idle, or soon.
Worker* Coordinator::worker_for_alone(const Job& job, const Sample& sample) {
  const bool of_one = names_in(sample.strikes) == 1;
  Worker* best = nullptr;
  const auto rank = [&](const Worker& worker) {
    const bool again = of_one && worker.hello.name == sample.strikes.front().worker;
    return std::tuple(again, worker.held(), worker.id);
  };
  for (auto& [id, worker] : workers_.all()) {
    if (worker.lone.value != 0 || worker.is_stuck() || !can_run(worker, job)) continue;
    if (best == nullptr || rank(worker) < rank(*best)) best = &worker;
  }
  return best;
}

/// Gives samples that may only run alone to idle workers, and keeps one free for the next if all are busy.
void Coordinator::run_alone() {
  if (alone_.empty() && kept_free_.value == 0) return;
  hungry_.insert(std::exchange(kept_free_, WorkerId{0}));
  for (const RequestId& id : std::set<RequestId>(alone_)) {
    Job& job = jobs_.at(id);
    while (!job.alone.empty()) {
      const std::int64_t number = job.alone.front();
      Worker* const worker = worker_for_alone(job, job.samples[static_cast<std::size_t>(number)]);
      if (worker == nullptr) {
        job.waiting_for = workers_.all().empty()
                              ? "no worker is connected"
                              : "a worker to run sample " + std::to_string(number) + " alone";
        progress_due_.insert(id);
        if (!next_progress_) next_progress_ = now_ + options_.progress_interval;
        break;
      }
      if (worker->held() > 0) {
        if (kept_free_.value == 0) kept_free_ = worker->id;
        break;
      }
      job.alone.pop_front();
      job.waiting_for.clear();
      if (job.request.deterministic && job.pinned.empty()) job.pinned = worker->hello.numerics_id;
      assign(*worker, job, {number});
      worker->lone = ShardId{last_shard_};
    }
    if (job.alone.empty()) alone_.erase(id);
  }
}

/// The process is there, so it was not lost: its samples are blamed no more.
void Coordinator::absolve(std::uint64_t boot) {
  for (const RequestId& id : struck_) {
    Job& job = jobs_.at(id);
    for (Sample& sample : job.samples) {
      std::erase_if(sample.strikes, [&](const Strike& strike) { return strike.boot == boot; });
    }
    const std::deque<std::int64_t> alone = std::exchange(job.alone, {});
    for (const std::int64_t i : alone) {
      const bool still = may_only_run_alone(job.samples[static_cast<std::size_t>(i)]);
      (still ? job.alone : job.unplaced).push_back(i);
    }
    if (job.alone.empty()) alone_.erase(id);
    if (!job.unplaced.empty()) membership_changed_ = true;
  }
}

}  // namespace pa
