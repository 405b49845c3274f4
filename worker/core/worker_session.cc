// A worker's session with the coordinator: joining, heartbeats, silence, leaving.

#include <algorithm>
#include <utility>

#include "worker/core/worker_core.h"

namespace pa {

WorkerCore::WorkerCore(WorkerOptions options) : options_(std::move(options)) {}

void WorkerCore::step(const WorkerEvent& event, TimePoint now, std::vector<WorkerAction>& out) {
  PA_CHECK(now >= now_);
  now_ = now;
  out_ = &out;
  std::visit([this](const auto& specific) { on(specific); }, event);
  leave_if_drained();
  out_ = nullptr;
}

std::optional<TimePoint> WorkerCore::next_deadline() const {
  if (state_ == SessionState::kIdle || state_ == SessionState::kGone) return std::nullopt;
  TimePoint next = last_heard_ + options_.silence;
  if (state_ == SessionState::kLive) {
    next = std::min(next, next_beat_);
    if (next_progress_) next = std::min(next, *next_progress_);
    for (const auto& [id, held] : shards_) {
      if (held.owes()) next = std::min(next, held.told_at + options_.resend);
    }
  } else {
    next = std::min(next, next_session_);
    if (options_.give_up) next = std::min(next, alone_since_ + *options_.give_up);
  }
  return next;
}

void WorkerCore::on(const worker_event::Ready&) {
  PA_CHECK(state_ == SessionState::kIdle);
  state_ = SessionState::kJoining;
  last_heard_ = now_;
  alone_since_ = now_;
  join();
}

void WorkerCore::join() {
  if (state_ == SessionState::kJoining) {
    control(options_.hello);
  } else if (state_ == SessionState::kAttaching) {
    data(Attach{id_, options_.hello.boot, 0, offers()});
  }
  next_session_ = now_ + options_.hello_interval;
}

void WorkerCore::on(const worker_event::FromCoordinator& event) {
  if (state_ == SessionState::kIdle || state_ == SessionState::kGone) return;
  last_heard_ = now_;
  if (const auto* welcome = std::get_if<Welcome>(&event.message)) {
    on_welcome(*welcome);
  } else if (const auto* attached = std::get_if<Attached>(&event.message)) {
    if (state_ != SessionState::kAttaching || attached->worker != id_) return;
    state_ = SessionState::kLive;
    settle_offers(attached->kept);
    next_beat_ = now_;
    tell(worker_note::Connected{id_, epoch_});
    if (draining_) control(Draining{id_});
    beat();
  } else if (std::holds_alternative<Rehello>(event.message)) {
    if (state_ != SessionState::kJoining) lose_session("the coordinator does not know this worker");
  } else if (const auto* rejected = std::get_if<Rejected>(&event.message)) {
    tell(worker_note::Refused{rejected->error});
    if (rejected->error.code == Code::kOverloaded)
      return;  // the name is taken: try again until it is not
    state_ = SessionState::kGone;
    drop_all("refused");
    emit(worker_action::Exit{1, rejected->error.message});
  } else if (const auto* revoke = std::get_if<Revoke>(&event.message)) {
    forget(revoke->shard, true);
  } else if (const auto* yield = std::get_if<Yield>(&event.message)) {
    on_yield(*yield);
  } else if (const auto* send_rows = std::get_if<SendRows>(&event.message)) {
    on_send_rows(*send_rows);
  } else if (const auto* prefetch = std::get_if<Prefetch>(&event.message)) {
    emit(worker_action::Prefetch{prefetch->model});
  } else if (const auto* answer = std::get_if<HeartbeatAck>(&event.message)) {
    on_beat_answered(*answer);
  } else if (const auto* save = std::get_if<Save>(&event.message)) {
    on_save(*save);
  }
}

void WorkerCore::on_welcome(const Welcome& welcome) {
  if (state_ != SessionState::kJoining) return;
  if (welcome.worker != id_ || welcome.epoch != epoch_) begin_offers();
  id_ = welcome.worker;
  epoch_ = welcome.epoch;
  if (welcome.beat_interval > Duration{0}) beat_interval_ = welcome.beat_interval;
  window_ = welcome.window;
  beats_ = 0;
  state_ = SessionState::kAttaching;
  join();
}

void WorkerCore::lose_session(const std::string& reason) {
  if (state_ == SessionState::kLive) {
    tell(worker_note::Disconnected{reason});
    alone_since_ = now_;
  }
  state_ = SessionState::kJoining;
  last_heard_ = now_;
  next_progress_.reset();
  join();
}

void WorkerCore::on(const worker_event::Drain&) {
  if (draining_) return;
  draining_ = true;
  if (state_ == SessionState::kLive) control(Draining{id_});
}

void WorkerCore::leave_if_drained() {
  if (!draining_ || state_ == SessionState::kGone || !shards_.empty()) return;
  if (state_ == SessionState::kLive) control(Bye{id_});
  state_ = SessionState::kGone;
  emit(worker_action::Exit{0, "drained"});
}

/// A new process may do what this one no longer can.
void WorkerCore::on_report(const DeviceBroken& broken) {
  const std::string fault = "its device broke: " + broken.error.message;
  if (state_ == SessionState::kLive) control(Bye{id_, fault});
  state_ = SessionState::kGone;
  drop_all(fault);
  emit(worker_action::Exit{1, fault});
}

void WorkerCore::on(const worker_event::Measured& event) {
  free_memory_bytes_ = event.free_memory_bytes;
  loaded_ = event.loaded;
  if (event.loading && busy_since_) busy_since_ = now_;
  if (shards_.empty() && !event.computing) busy_since_.reset();
}

void WorkerCore::on(const worker_event::Tick&) {
  // Who was stopped, or slept with its box, did not compute meanwhile.
  const Duration since = now_ - std::exchange(last_tick_, now_);
  if (busy_since_ && since > 2 * beat_interval_)
    *busy_since_ = std::min(now_, *busy_since_ + since);
  if (state_ == SessionState::kIdle || state_ == SessionState::kGone) return;
  if (state_ != SessionState::kLive && options_.give_up &&
      now_ - alone_since_ >= *options_.give_up) {
    state_ = SessionState::kGone;
    drop_all("no coordinator");
    emit(worker_action::Exit{1, "no coordinator answered"});
    return;
  }
  if (state_ != SessionState::kLive && now_ - alone_since_ >= options_.keep) {
    drop_all("no coordinator");
  }
  if (now_ - last_heard_ >= options_.silence) {
    emit(worker_action::Reconnect{});
    lose_session("the coordinator is silent");
    return;
  }
  if (state_ != SessionState::kLive) {
    if (now_ >= next_session_) join();
    return;
  }
  if (now_ >= next_beat_) beat();
  if (next_progress_ && now_ >= *next_progress_) send_progress();
  resend_results();
}

void WorkerCore::beat() {
  Heartbeat message{id_, beats_++, passes_, free_memory_bytes_, {}, {}, loaded_};
  if (busy_since_) message.busy_for = now_ - *busy_since_;
  for (const auto& [id, held] : shards_) message.shards.push_back(id);
  control(std::move(message));
  last_beat_ = now_;
  next_beat_ = now_ + beat_interval_;
}

void WorkerCore::on_beat_answered(const HeartbeatAck& answer) {
  // Only the last beat's time is known; an answer to an earlier one says nothing new.
  if (state_ != SessionState::kLive || answer.sequence + 1 != beats_) return;
  tell(worker_note::BeatAnswered{now_ - last_beat_});
}

void WorkerCore::check_invariants() const {
  for (const auto& [id, held] : shards_) {
    PA_CHECK(held.assign.shard == id);
    PA_CHECK(held.rows_done <= held.rows());
    PA_CHECK(!over_.contains(id));
    PA_CHECK(!held.offered || (!held.sending && held.told.empty()));
    PA_CHECK(held.running != held.body.has_value() || held.rows_done == held.rows());
  }
  if (state_ == SessionState::kIdle || state_ == SessionState::kGone) PA_CHECK(shards_.empty());
}

}  // namespace pa
