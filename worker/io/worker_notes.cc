#include "worker/io/worker_notes.h"

#include "shared/io/log.h"

namespace pa {
namespace {

void log(const worker_note::Connected& note) {
  log_info("coordinator.connected", {{"as", note.worker.value}, {"epoch", note.epoch}});
}
void log(const worker_note::Disconnected& note) {
  log_warning("coordinator.lost", {{"reason", note.reason}});
}
void log(const worker_note::ShardStarted& note) {
  const std::string request = to_string(note.request);
  log_info("shard.started",
           {{"request", request}, {"shard", note.shard.value}, {"samples", note.samples}});
}
void log(const worker_note::SamplesFinished& note) {
  const std::string request = to_string(note.request);
  if (note.failed > 0) {
    log_warning("samples.failed", {{"request", request},
                                   {"shard", note.shard.value},
                                   {"samples", note.failed},
                                   {"error", note.error}});
  }
  if (note.samples > 0) {
    log_debug("samples.finished",
              {{"request", request}, {"shard", note.shard.value}, {"samples", note.samples}});
  }
}
void log(const worker_note::ShardDropped& note) {
  log_info("shard.dropped", {{"shard", note.shard.value}, {"reason", note.reason}});
}
void log(const worker_note::Refused& note) {
  log_warning("coordinator.refused", {{"error", note.error.message}});
}
void log(const worker_note::BeatAnswered&) {}

}  // namespace

void WorkerNotes::take(const WorkerNote& note) {
  std::visit([](const auto& specific) { log(specific); }, note);
  if (const auto* done = std::get_if<worker_note::SamplesFinished>(&note))
    metrics_.samples_finished(done->samples);
  if (const auto* answered = std::get_if<worker_note::BeatAnswered>(&note))
    metrics_.heartbeat_answered(to_seconds(answered->round_trip));
}

std::int64_t MeteredCompute::free_memory_bytes() const {
  const std::int64_t bytes = device_.free_memory_bytes();
  metrics_.set_memory_free(bytes);
  return bytes;
}

std::optional<EngineReport> MeteredCompute::poll() {
  std::optional<EngineReport> report = device_.poll();
  if (!report) return std::nullopt;
  if (const auto* pass = std::get_if<PassDone>(&*report)) {
    if (pass->fits) metrics_.pass_finished(pass->seconds);
    if (pass->switch_seconds > 0) metrics_.loras_switched(pass->switch_seconds);
  }
  if (const auto* moved = std::get_if<ShardMoved>(&*report))
    metrics_.steps_finished(moved->new_steps);
  return report;
}

}  // namespace pa
