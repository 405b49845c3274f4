// Running samples that leave one worker for another, or for the queue.

#include <algorithm>

#include "coordinator/core/coordinator.h"

namespace pa {
namespace {

/// A Yield that was not answered is sent again.
constexpr Duration kYieldAgain = std::chrono::milliseconds{500};

}  // namespace

void Coordinator::ask_to_leave(Job& job, std::int64_t number, WorkerId to) {
  const ShardId shard = shard_of(job, number);
  const ShardId id{++last_shard_};
  begin_move(job, number, shard, to, id);
  send(workers_.find(shards_.at(shard).worker)->control, Yield{shard, number, id});
}

void Coordinator::begin_move(Job& job, std::int64_t number, ShardId shard, WorkerId to,
                             ShardId id) {
  Sample& sample = job.samples[static_cast<std::size_t>(number)];
  Worker& from = *workers_.find(sample.at);
  Move move;
  move.id = id;
  move.request = job.id;
  move.sample = number;
  move.shard = shard;
  move.from = from.id;
  move.to = to;
  move.asked_at = now_;
  sample.move = move.id;
  ++from.leaving;
  hungry_.insert(from.id);
  if (Worker* target = workers_.find(to)) ++target->inbound;
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
  if (shard->late.contains(message.sample)) {
    const bool is_on_the_move = late_copy_left(*shard, message);
    pass_ended(worker);
    if (!is_on_the_move) return;
  }
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
  const bool goes = to != nullptr && !to->is_stuck() && takes(*to, job) && !is_static(job);
  tell(note::SampleMoved{job.id, move.sample, from.hello.name, goes ? to->hello.name : "",
                         move.steps, to_seconds(now_ - move.left_at)});
  if (shard.is_over()) drop_shard(shard.id);
  if (!goes && measured_.contains(job.id)) charge(job, move.sample, -1);
  if (goes) {
    dequeue(job, move.sample);
    assign(*to, job, {move.sample});
  } else if (is_static(job)) {
    place(job);
  }
}

}  // namespace pa
