// Checkpoints of running samples: when they are asked for, what room they have, and how they are taken in.

#include <algorithm>

#include "coordinator/core/coordinator.h"

namespace pa {
namespace {

/// Writing states down takes one in so many parts of a device's time, at most.
constexpr double kCostPart = 100;
/// A state that has not come after this is given up: a message was lost.
constexpr Duration kSaveLimit = std::chrono::seconds{10};
/// Bytes of a sample's state, over those of its result: the slots of a sampler's history, and words.
constexpr std::uint64_t kStateSlots = 64;
constexpr std::uint64_t kStateWords = 1u << 16;

}  // namespace

std::uint64_t Coordinator::most_state_bytes(const Job& job) {
  return kStateSlots * job.admitted.result_row_bytes + kStateWords;
}

void Coordinator::keep_checkpoint(Job& job, std::int64_t number, BufferId buffer,
                                  std::uint64_t bytes, std::int64_t steps, double worth) {
  Sample& sample = job.samples[static_cast<std::size_t>(number)];
  forget_checkpoint(job, number);
  sample.checkpoint = buffer;
  sample.checkpoint_bytes = bytes;
  sample.saved_steps = static_cast<std::int32_t>(steps);
  sample.saved_worth = worth;
  checkpoint_bytes_ += bytes;
  checkpoints_.emplace(worth, job.id, number);
}

void Coordinator::forget_checkpoint(Job& job, std::int64_t number) {
  Sample& sample = job.samples[static_cast<std::size_t>(number)];
  if (sample.checkpoint.value == 0) return;
  emit(action::Release{sample.checkpoint});
  buffered_bytes_ -= sample.checkpoint_bytes;
  checkpoint_bytes_ -= sample.checkpoint_bytes;
  checkpoints_.erase({sample.saved_worth, job.id, number});
  sample.checkpoint = BufferId{0};
  sample.checkpoint_bytes = 0;
  sample.saved_steps = 0;
  sample.saved_worth = 0;
}

/// Makes room for a state that stands for `worth` seconds, at the cost of states of running samples that
/// stand for fewer.
bool Coordinator::make_room(std::uint64_t bytes, double worth) {
  const std::uint64_t most = options_.checkpoint_bytes;
  if (bytes > most) return false;
  while (checkpoint_bytes_ > most - bytes) {
    const auto least =
        std::find_if(checkpoints_.begin(), checkpoints_.end(), [this](const auto& entry) {
          const Job& job = jobs_.at(std::get<1>(entry));
          const auto number = static_cast<std::size_t>(std::get<2>(entry));
          return job.samples[number].state == SampleState::kAssigned;
        });
    if (least == checkpoints_.end() || std::get<0>(*least) >= worth) return false;
    const auto [seconds, request, number] = *least;
    forget_checkpoint(jobs_.at(request), number);
  }
  return true;
}

Duration Coordinator::save_interval(const Worker& worker, const Job& job) const {
  const double samples = static_cast<double>(std::min(worker.assigned, worker.hello.max_rows));
  return std::max(options_.checkpoint_interval, from_seconds(kCostPart * job.save_cost * samples));
}

void Coordinator::save_due(const Worker& worker) {
  if (!worker.hello.yields || options_.checkpoint_bytes == 0 ||
      worker.state == WorkerState::kSuspect) {
    return;
  }
  for (const ShardId id : worker.shards) {
    const Shard& shard = shards_.at(id);
    Job& job = jobs_.at(shard.request);
    if (job.request.op != Operation::kSample) continue;
    const Duration interval = save_interval(worker, job);
    for (const std::int64_t number : shard.open) {
      Sample& sample = job.samples[static_cast<std::size_t>(number)];
      if (sample.save.value != 0) {
        if (now_ - sample.saved_at < std::max(interval, kSaveLimit)) continue;
        end_save(sample.save);
      }
      if (sample.steps <= sample.saved_steps) sample.saved_at = now_;  // Nothing new to save.
      if (sample.move.value != 0 || now_ - sample.saved_at < interval) continue;
      ask_to_save(worker, shard, job, number);
    }
  }
}

void Coordinator::ask_to_save(const Worker& worker, const Shard& shard, Job& job,
                              std::int64_t number) {
  Sample& sample = job.samples[static_cast<std::size_t>(number)];
  Saving saving;
  saving.id = ShardId{++last_shard_};
  saving.request = job.id;
  saving.sample = number;
  saving.shard = shard.id;
  saving.worth = sample.saved_worth + to_seconds(now_ - sample.saved_at);
  sample.saved_at = now_;
  if (job.state_bytes > 0 && !make_room(job.state_bytes, saving.worth)) return;
  sample.save = saving.id;
  send(worker.control, Save{shard.id, number, saving.id});
  saves_.emplace(saving.id, saving);
}

void Coordinator::on_saved(Worker& worker, const Saved& message) {
  Shard* const shard = find(message.shard);
  const auto found = saves_.find(message.save);
  if (shard == nullptr || shard->worker != worker.id || found == saves_.end()) return;  // Late.
  Saving& saving = found->second;
  Job& job = jobs_.at(saving.request);
  if (saving.shard != message.shard || saving.sample != message.sample || message.bytes == 0 ||
      message.bytes > most_state_bytes(job) || message.steps < 0 ||
      message.steps > job.admitted.steps_per_sample) {
    return lose_shard(shard->id, "protocol: it saved a sample as cannot be");
  }
  if (saving.buffer.value != 0) return;  // Told again.
  job.state_bytes = std::max(job.state_bytes, message.bytes);
  job.save_cost = std::max(job.save_cost, std::clamp(message.cost_seconds, 0.0, 60.0));
  if (!make_room(message.bytes, saving.worth)) return end_save(saving.id);
  saving.buffer = BufferId{++last_buffer_};
  saving.bytes = message.bytes;
  saving.steps = message.steps;
  buffered_bytes_ += saving.bytes;
  checkpoint_bytes_ += saving.bytes;
  // Without memory for it there is no checkpoint, and no harm.
  emit(action::Allocate{saving.buffer, saving.bytes, RequestId{}});
  emit(action::Receive{saving.stream(), *worker.data, saving.buffer, saving.bytes, true});
}

void Coordinator::complete_save(ShardId id) {
  Saving& saving = saves_.at(id);
  Job& job = jobs_.at(saving.request);
  const Worker& worker = *workers_.find(shards_.at(saving.shard).worker);
  tell(note::CheckpointTaken{worker.hello.name, saving.bytes});
  if (saving.steps > job.samples[static_cast<std::size_t>(saving.sample)].saved_steps) {
    checkpoint_bytes_ -= saving.bytes;  // keep_checkpoint() counts it.
    keep_checkpoint(job, saving.sample, std::exchange(saving.buffer, BufferId{0}), saving.bytes,
                    saving.steps, saving.worth);
    emit(action::Close{saving.stream()});
  }
  end_save(id);
}

void Coordinator::end_save(ShardId id) {
  const auto found = saves_.find(id);
  if (found == saves_.end()) return;
  const Saving& saving = found->second;
  if (saving.buffer.value != 0) {
    emit(action::Close{saving.stream()});
    emit(action::Release{saving.buffer});
    buffered_bytes_ -= saving.bytes;
    checkpoint_bytes_ -= saving.bytes;
  }
  jobs_.at(saving.request).samples[static_cast<std::size_t>(saving.sample)].save = ShardId{0};
  saves_.erase(found);
}

/// A worker that could not read where a sample was to go on refuses its shard. It runs again, that
/// sample from its beginning. False: that is not why the shard failed.
bool Coordinator::drop_bad_checkpoint(const Shard& shard, const SamplesDone& message) {
  constexpr std::string_view kField = "/tensors/checkpoint.";
  if (message.samples.empty() || !message.samples.front().failed) return false;
  const std::string& field = message.samples.front().error.field;
  if (!field.starts_with(kField)) return false;
  Job& job = jobs_.at(shard.request);
  for (const std::int64_t number : shard.open) {
    if (field.substr(kField.size()) != std::to_string(number) ||
        job.samples[static_cast<std::size_t>(number)].checkpoint.value == 0) {
      continue;
    }
    forget_checkpoint(job, number);
    lose_shard(shard.id, "could not read a checkpoint: " + message.samples.front().error.message);
    return true;
  }
  return false;
}

void Coordinator::check_checkpoints() const {
  std::uint64_t bytes = 0;
  std::size_t kept = 0;
  for (const auto& [id, job] : jobs_) {
    for (std::size_t i = 0; i < job.samples.size(); ++i) {
      const Sample& sample = job.samples[i];
      if (sample.save.value != 0) PA_CHECK(saves_.contains(sample.save));
      bytes += sample.checkpoint_bytes;
      if (sample.checkpoint.value == 0) continue;
      ++kept;
      PA_CHECK(checkpoints_.contains({sample.saved_worth, id, static_cast<std::int64_t>(i)}));
    }
  }
  for (const auto& [id, saving] : saves_) {
    const Job& job = jobs_.at(saving.request);
    PA_CHECK(job.samples[static_cast<std::size_t>(saving.sample)].save == id);
    PA_CHECK(shards_.at(saving.shard).open.contains(saving.sample));
    bytes += saving.buffer.value != 0 ? saving.bytes : 0;
  }
  PA_CHECK(kept == checkpoints_.size());
  PA_CHECK(bytes == checkpoint_bytes_);
}

}  // namespace pa
