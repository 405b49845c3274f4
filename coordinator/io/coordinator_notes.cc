#include "coordinator/io/coordinator_notes.h"

#include <chrono>

#include "shared/io/log.h"

namespace pa {
namespace {

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ",") + name;
  return text;
}

/// "a:15 b:6": who is to take how many samples.
std::string in_words(const std::vector<PlanShare>& plan) {
  std::string text;
  for (const PlanShare& share : plan)
    text += (text.empty() ? "" : " ") + share.worker + ":" + std::to_string(share.samples);
  return text;
}

}  // namespace

void CoordinatorNotes::take(const Note& note) {
  std::visit([this](const auto& specific) { on(specific); }, note);
}

void CoordinatorNotes::on(const note::WorkerJoined& note) {
  metrics_.worker_joined(note.worker);
  const std::string models = joined(note.models);
  log_info("worker.joined", {{"worker", note.worker},
                             {"host", note.host},
                             {"device", note.device},
                             {"device_name", note.device_name},
                             {"weight", note.weight},
                             {"models", models}});
}

void CoordinatorNotes::on(const note::WorkerState& note) {
  metrics_.worker_state(note.worker, note.state);
  const LogFields fields{{"worker", note.worker}, {"state", note.state}, {"reason", note.reason}};
  if (note.state == "live") {
    log_info("worker.state", fields);
  } else {
    log_warning("worker.state", fields);
  }
}

void CoordinatorNotes::on(const note::WorkerRefused& note) {
  log_warning("worker.refused", {{"worker", note.worker}, {"error", note.error.message}});
}

void CoordinatorNotes::on(const note::RequestAccepted& note) {
  metrics_.request_accepted(note.samples);
  for (const PlanShare& share : note.plan) {
    metrics_.planned(share.worker,
                     static_cast<double>(share.samples) / static_cast<double>(note.samples));
  }
  const std::string request = to_string(note.request);
  const std::string plan = in_words(note.plan);
  log_info(
      "request.accepted",
      {{"request", request}, {"model", note.model}, {"samples", note.samples}, {"plan", plan}});
}

void CoordinatorNotes::on(const note::RequestRefused& note) {
  metrics_.request_refused();
  const std::string request = to_string(note.request);
  log_info("request.refused", {{"request", request},
                               {"code", name_of(note.error.code)},
                               {"field", note.error.field},
                               {"error", note.error.message}});
}

void CoordinatorNotes::on(const note::RequestFinished& note) {
  metrics_.request_finished(note.outcome, note.seconds, note.queue_seconds);
  const std::string request = to_string(note.request);
  const LogFields fields{{"request", request},
                         {"outcome", note.outcome},
                         {"samples", note.samples},
                         {"seconds", note.seconds},
                         {"queue_seconds", note.queue_seconds},
                         {"error", note.error}};
  if (note.outcome == "ok" || note.outcome == "cancelled") {
    log_info("request.finished", fields);
  } else {
    log_warning("request.finished", fields);
  }
}

void CoordinatorNotes::on(const note::ShardAssigned& note) {
  metrics_.samples_assigned(note.worker, note.samples);
  metrics_.transferred(note.worker, TransferDirection::kSent, TransferKind::kInput,
                       note.input_bytes);
  const std::string request = to_string(note.request);
  const LogFields fields{{"request", request},      {"shard", note.shard.value},
                         {"worker", note.worker},   {"samples", note.samples},
                         {"attempt", note.attempt}, {"shared_memory", note.shares}};
  if (note.attempt > 1) {
    log_info("shard.again", fields);
  } else {
    log_debug("shard.assigned", fields);
  }
}

void CoordinatorNotes::on(const note::ShardKept& note) {
  metrics_.samples_kept(note.samples, note.steps);
  log_info("shard.kept", {{"request", to_string(note.request)},
                          {"shard", note.shard.value},
                          {"worker", note.worker},
                          {"samples", note.samples},
                          {"steps", note.steps}});
}

void CoordinatorNotes::on(const note::ShardLost& note) {
  metrics_.shard_retried(note.reason.starts_with("protocol") ? RetryReason::kError
                         : note.reason.starts_with("silent") ? RetryReason::kTimeout
                                                             : RetryReason::kLost);
  metrics_.steps_lost(note.saved_steps, note.lost_steps);
  const std::string request = to_string(note.request);
  log_warning("shard.lost", {{"request", request},
                             {"shard", note.shard.value},
                             {"worker", note.worker},
                             {"samples", note.samples},
                             {"saved_steps", note.saved_steps},
                             {"lost_steps", note.lost_steps},
                             {"reason", note.reason}});
}

void CoordinatorNotes::on(const note::CheckpointTaken& note) {
  metrics_.checkpoint_taken(note.worker, note.bytes);
}

void CoordinatorNotes::on(const note::SamplesFinished& note) {
  metrics_.samples_finished(note.worker, note.samples, note.steps);
  metrics_.transferred(note.worker, TransferDirection::kReceived, TransferKind::kResult,
                       note.result_bytes);
}

void CoordinatorNotes::on(const note::JournalFailed& note) {
  metrics_.journal_failed();
  log_error(
      "journal.failed",
      {{"request", to_string(note.request)}, {"what", note.what}, {"error", note.error.message}});
}

void CoordinatorNotes::on(const note::RequestRecovered& note) {
  log_info("request.recovered", {{"request", to_string(note.request)},
                                 {"model", note.model},
                                 {"samples", note.samples},
                                 {"finished", note.finished},
                                 {"ended", note.ended}});
}

void CoordinatorNotes::on(const note::SampleMoved& note) {
  metrics_.sample_moved(note.from);
  const std::string request = to_string(note.request);
  log_debug("sample.moved", {{"request", request},
                             {"sample", note.sample},
                             {"from", note.from},
                             {"to", note.to},
                             {"steps", note.steps},
                             {"seconds", note.seconds}});
}

void CoordinatorNotes::on(const note::SampleHedged& note) {
  metrics_.sample_hedged(note.from);
  const std::string request = to_string(note.request);
  log_warning("sample.hedged", {{"request", request},
                                {"sample", note.sample},
                                {"from", note.from},
                                {"to", note.to},
                                {"steps", note.steps},
                                {"saved_steps", note.saved_steps}});
}

void CoordinatorNotes::on(const note::SampleGivenUp& note) {
  metrics_.sample_given_up();
  log_error(
      "sample.given_up",
      {{"request", to_string(note.request)}, {"sample", note.sample}, {"reason", note.reason}});
}

void CoordinatorNotes::on(const note::DeviceSlow& note) {
  log_warning("device.slow", {{"worker", note.worker}, {"factor", note.factor}});
}

void CoordinatorNotes::on(const note::ProtocolError& note) {
  log_warning("protocol.error", {{"peer", note.peer.value}, {"error", note.what}});
}

}  // namespace pa
