// Shards on a worker: inputs in, engine, results out.

#include <algorithm>
#include <type_traits>
#include <utility>

#include "shared/core/utf8.h"
#include "worker/core/worker_core.h"

namespace pa {
namespace {

/// Kinds of passes in one report; what comes beyond tells nothing new.
constexpr std::size_t kMaxPassReports = 32;

/// Passes that differ by more than that are reported apart, so that one that was held up does not pass for a change of
/// speed.
constexpr double kUnlike = 1.5;

void add(const PassDone& pass, std::vector<PassReport>& reports) {
  const auto same = std::find_if(reports.begin(), reports.end(), [&](const PassReport& report) {
    const double mean = report.seconds / static_cast<double>(report.passes);
    return report.model == pass.model && report.row == pass.row && report.rows == pass.rows &&
           report.fits == pass.fits && pass.seconds <= kUnlike * mean &&
           mean <= kUnlike * pass.seconds;
  });
  if (same != reports.end()) {
    ++same->passes;
    same->seconds += pass.seconds;
  } else if (reports.size() < kMaxPassReports) {
    reports.push_back({pass.model, pass.row, pass.rows, 1, pass.seconds, pass.fits});
  }
}

}  // namespace

void WorkerCore::on(const worker_event::Assigned& event) {
  const Assign& assign = event.assign;
  if (state_ != SessionState::kLive) return;
  last_heard_ = now_;
  if (shards_.contains(assign.shard) || over_.contains(assign.shard))
    return;  // sent twice, or late
  Held& held = shards_[assign.shard];
  held.assign = assign;
  if (!event.body.ok()) return fail_all(held, event.body.error());
  const Result<InputLayout> layout = input_layout(assign.tensors);
  if (!layout.ok()) return fail_all(held, layout.error());
  if (assign.samples.empty() || assign.result.shape.empty() ||
      assign.result.shape[0] != held.rows() || !row_bytes(assign.result).ok()) {
    return fail_all(held,
                    internal("the coordinator sent a shard whose result does not fit its samples"));
  }
  held.body = *event.body;
  if (layout->total == 0 || event.inputs_here) return run(held);
  std::uint64_t bytes = 0;
  for (const TensorSpec& spec : assign.tensors) bytes += *byte_size(spec);
  held.inputs = BufferId{++last_buffer_};
  emit(worker_action::Allocate{held.inputs, layout->total, assign.shard});
  for (std::size_t i = 0; i < std::min(assign.tensors.size(), event.blobs_here.size()); ++i) {
    if (event.blobs_here[i]) emit(worker_action::FillIn{i, held.inputs, layout->offsets[i]});
  }
  const bool ask = assign.segment != 0 || !assign.digests.empty();
  emit(worker_action::Receive{held.input_stream(), held.inputs, bytes, ask,
                              ranges_here(assign.tensors, event.blobs_here)});
}

Blobs WorkerCore::blobs_of(const Held& held) {
  const Assign& assign = held.assign;
  Blobs blobs{assign.blob_scope, {}};
  if (assign.digests.empty()) return blobs;
  const Result<InputLayout> layout = input_layout(assign.tensors);
  for (std::size_t i = 0; i < std::min(assign.tensors.size(), assign.digests.size()); ++i) {
    const std::uint64_t bytes = *byte_size(assign.tensors[i]);
    if (is_blob(assign.digests[i], bytes))
      blobs.blobs.push_back({assign.digests[i], layout->offsets[i], bytes});
  }
  return blobs;
}

void WorkerCore::on(const worker_event::NoMemory& event) {
  const auto found = shards_.find(event.shard);
  if (found == shards_.end()) return;
  emit(worker_action::Close{found->second.input_stream()});
  fail_all(found->second, overloaded("the worker has no memory for the shard's tensors"));
}

void WorkerCore::on(const StreamArrived& event) {
  if (event.stream.kind != StreamKind::kShardInput || !event.whole) return;
  const auto found = shards_.find(event.stream.shard);
  if (found == shards_.end() || found->second.running) return;
  emit(worker_action::Close{event.stream});
  run(found->second);
}

void WorkerCore::on(const StreamSent& event) {
  // Of results, Revoke tells when the coordinator is content.
  if (event.stream.kind != StreamKind::kCheckpoint) return;
  for (auto& [id, held] : shards_) {
    if (held.assign.request != event.stream.request) continue;
    for (auto& [sample, leaving] : held.leaving) {
      if (leaving.move == event.stream.shard) return release_state(held, leaving);
    }
    for (const auto& [sample, saving] : held.saving) {
      if (saving.save == event.stream.shard) return end_saving(held, sample);
    }
  }
}

void WorkerCore::on_yield(const Yield& yield) {
  const auto found = shards_.find(yield.shard);
  if (found == shards_.end()) return;
  Held& held = found->second;
  const auto& samples = held.assign.samples;
  if (!std::binary_search(samples.begin(), samples.end(), yield.sample)) return;
  const auto [at, fresh] =
      held.leaving.try_emplace(yield.sample, Leaving{yield.move, {}, {}, false});
  if (fresh && held.running) emit(worker_action::Leave{yield.shard, yield.sample});
}

void WorkerCore::on_send_rows(const SendRows& message) {
  const auto found = shards_.find(message.shard);
  if (found == shards_.end()) return;
  found->second.shares = false;
  emit(worker_action::Unshare{message.shard});
}

void WorkerCore::on_report(const SampleLeft& left) {
  const auto found = shards_.find(left.shard);
  if (found == shards_.end()) return;
  Held& held = found->second;
  const auto leaving = held.leaving.find(left.sample);
  PA_CHECK(leaving != held.leaving.end() && !leaving->second.told);
  if (leaving->second.dropped) {
    ++held.rows_done;
    return;
  }
  const auto row =
      std::lower_bound(held.assign.samples.begin(), held.assign.samples.end(), left.sample) -
      held.assign.samples.begin();
  Leaving& gone = leaving->second;
  Yielded message{id_, left.shard, gone.move, left.sample, 0, left.checkpoint.size()};
  if (row < std::ssize(held.sample_steps)) {
    message.steps = held.sample_steps[static_cast<std::size_t>(row)];
  }
  ++held.rows_done;
  end_saving(held, left.sample);
  if (!left.checkpoint.empty()) {
    gone.state = BufferId{++last_buffer_};
    emit(worker_action::Adopt{gone.state, left.checkpoint});
    // With no window: the coordinator has no room for it yet, and asks when it has.
    emit(worker_action::StartSending{held.checkpoint_stream(gone.move), 0});
    emit(worker_action::Append{held.checkpoint_stream(gone.move),
                               Piece{gone.state, 0, left.checkpoint.size(), 0}, true});
  }
  gone.told = message;
  held.told_at = now_;
  if (state_ == SessionState::kLive) data(std::move(message));
}

void WorkerCore::on_save(const Save& save) {
  const auto found = shards_.find(save.shard);
  if (found == shards_.end() || !found->second.running) return;
  Held& held = found->second;
  const auto& samples = held.assign.samples;
  if (!std::binary_search(samples.begin(), samples.end(), save.sample)) return;
  end_saving(held, save.sample);
  held.saving[save.sample].save = save.save;
  emit(worker_action::Save{save.shard, save.sample});
}

void WorkerCore::on_report(const SampleSaved& saved) {
  const auto found = shards_.find(saved.shard);
  if (found == shards_.end()) return;
  Held& held = found->second;
  const auto asked = held.saving.find(saved.sample);
  if (asked == held.saving.end() || asked->second.state.value != 0) return;
  Saving& saving = asked->second;
  saving.state = BufferId{++last_buffer_};
  emit(worker_action::Adopt{saving.state, saved.checkpoint});
  // With no window: the coordinator asks when it has room.
  emit(worker_action::StartSending{held.checkpoint_stream(saving.save), 0});
  emit(worker_action::Append{held.checkpoint_stream(saving.save),
                             Piece{saving.state, 0, saved.checkpoint.size(), 0}, true});
  if (state_ == SessionState::kLive) {
    data(Saved{id_, saved.shard, saving.save, saved.sample, saved.steps, saved.cost_seconds,
               saved.checkpoint.size()});
  }
}

/// Nobody needs the state any more: it was taken, or its sample has ended.
void WorkerCore::end_saving(Held& held, std::int64_t sample) {
  const auto found = held.saving.find(sample);
  if (found == held.saving.end()) return;
  if (found->second.state.value != 0) {
    emit(worker_action::Close{held.checkpoint_stream(found->second.save)});
    emit(worker_action::Release{found->second.state});
  }
  held.saving.erase(found);
}

void WorkerCore::release_state(Held& held, Leaving& leaving) {
  leaving.taken = true;
  if (leaving.state.value == 0) return;
  emit(worker_action::Close{held.checkpoint_stream(leaving.move)});
  emit(worker_action::Release{leaving.state});
  leaving.state = BufferId{0};
}

void WorkerCore::on(const StreamBroken&) {}  // the coordinator's shards are its own to spoil

void WorkerCore::on(const StreamUnwritable& event) {
  on(worker_event::NoMemory{event.stream.shard});
}

void WorkerCore::run(Held& held) {
  held.running = true;
  if (!busy_since_) busy_since_ = now_;
  ShardJob job;
  job.shard = held.assign.shard;
  job.request = held.assign.request;
  job.body = std::move(*held.body);
  held.body.reset();
  job.samples = held.assign.samples;
  job.tensors = held.assign.tensors;
  job.result = held.assign.result;
  if (Blobs blobs = blobs_of(held); held.inputs.value != 0 && !blobs.blobs.empty())
    emit(worker_action::KeepBlobs{held.inputs, std::move(blobs)});
  tell(worker_note::ShardStarted{job.request, job.shard, held.rows()});
  emit(worker_action::Run{std::move(job), held.inputs});
  for (const auto& [sample, leaving] : held.leaving) {
    emit(worker_action::Leave{held.assign.shard, sample});
  }
  if (held.inputs.value != 0) emit(worker_action::Release{held.inputs});
  held.inputs = BufferId{0};
}

void WorkerCore::on(const worker_event::Reported& event) {
  if (const auto* rows = std::get_if<RowsFinished>(&event.report)) {
    on_report(*rows, event.in_place);
    return;
  }
  std::visit(
      [this](const auto& report) {
        if constexpr (!std::is_same_v<std::decay_t<decltype(report)>, RowsFinished>)
          on_report(report);
      },
      event.report);
}

void WorkerCore::on_report(const PassDone& pass) {
  ++passes_;
  add(pass, pass_reports_);
  if (!next_progress_) next_progress_ = now_ + options_.progress_interval;
  const bool busy = std::any_of(shards_.begin(), shards_.end(), [](const auto& entry) {
    return entry.second.running && entry.second.rows_done < entry.second.rows();
  });
  if (busy) {
    busy_since_ = now_;
  } else {
    busy_since_.reset();
  }
}

void WorkerCore::on_report(const ShardMoved& moved) {
  const auto found = shards_.find(moved.shard);
  if (found == shards_.end()) return;
  found->second.steps = moved.steps;
  found->second.seconds = moved.seconds;
  found->second.sample_steps = moved.sample_steps;
  moved_.insert(moved.shard);
  if (!next_progress_) next_progress_ = now_ + options_.progress_interval;
}

void WorkerCore::on_report(const RowsFinished& rows, bool in_place) {
  const auto found = shards_.find(rows.shard);
  if (found == shards_.end()) return;
  Held& held = found->second;
  const auto count = std::ssize(rows.samples);
  PA_CHECK(count > 0 && rows.first_row >= 0 && rows.first_row + count <= held.rows());
  held.rows_done += count;
  for (const SampleReport& report : rows.samples) end_saving(held, report.sample);
  if (!rows.bytes.empty()) {
    // Kept until Revoke, wherever else it is: another coordinator may ask for it.
    const std::uint64_t row = *row_bytes(held.assign.result);
    PA_CHECK(rows.bytes.size() == row * static_cast<std::uint64_t>(count));
    const BufferId buffer{++last_buffer_};
    emit(worker_action::Adopt{buffer, rows.bytes});
    held.results.push_back(buffer);
    for (std::int64_t i = 0; i < count; ++i) {
      const SampleReport& report = rows.samples[static_cast<std::size_t>(i)];
      held.finished[report.sample] = {report, buffer, static_cast<std::uint64_t>(i) * row};
    }
  }
  for (const SampleReport& report : rows.samples) {
    if (report.failed) held.failed[report.sample] = report;
  }
  if (held.offered) return;
  std::vector<SampleReport> reports;
  for (const SampleReport& report : rows.samples) {
    const auto leaving = held.leaving.find(report.sample);
    const bool dropped = leaving != held.leaving.end() && leaving->second.dropped;
    if (!dropped) reports.push_back(report);
  }
  if (!reports.empty()) deliver(held, reports, in_place && held.shares);
}

/// Tells of samples that have ended; their rows, if they are to be sent, go first.
void WorkerCore::deliver(Held& held, const std::vector<SampleReport>& reports, bool in_place) {
  const std::uint64_t row = *row_bytes(held.assign.result);
  for (std::size_t i = 0; i < reports.size() && !in_place && !reports[i].failed;) {
    const Finished& first = held.finished.at(reports[i].sample);
    std::size_t end = i + 1;
    while (end < reports.size() && reports[end].sample == reports[end - 1].sample + 1 &&
           held.finished.at(reports[end].sample).rows == first.rows) {
      ++end;
    }
    const std::uint64_t bytes = (end - i) * row;
    if (!held.sending) emit(worker_action::StartSending{held.result_stream(), window_});
    held.sending = true;
    held.stream_upto += bytes;
    const bool last = end == reports.size() && held.rows_done == held.rows();
    emit(worker_action::Append{
        held.result_stream(),
        Piece{first.rows, first.offset, bytes, static_cast<std::uint64_t>(reports[i].sample) * row},
        last});
    i = end;
  }
  tell_done(held, SamplesDone{id_, held.assign.shard, held.stream_upto, reports, in_place});
}

void WorkerCore::on_report(const PreviewMade& made) {
  const auto found = shards_.find(made.shard);
  if (found == shards_.end()) return;
  found->second.previews[made.sample] = {found->second.assign.request,
                                         made.shard,
                                         made.sample,
                                         made.step,
                                         made.width,
                                         made.height,
                                         made.rgb};
  if (!next_progress_) next_progress_ = now_ + options_.progress_interval;
}

void WorkerCore::fail_all(Held& held, const Error& error) {
  SamplesDone message{id_, held.assign.shard, held.stream_upto, {}};
  for (const std::int64_t sample : held.assign.samples) {
    SampleReport report;
    report.sample = sample;
    report.failed = true;
    report.error = error;
    message.samples.push_back(std::move(report));
  }
  if (held.inputs.value != 0) emit(worker_action::Release{held.inputs});
  held.inputs = BufferId{0};
  held.body.reset();
  held.rows_done = held.rows();
  tell_done(held, std::move(message));
}

void WorkerCore::tell_done(Held& held, SamplesDone message) {
  worker_note::SamplesFinished note{held.assign.request, held.assign.shard, 0, 0, {}};
  for (SampleReport& report : message.samples) {
    report.error.message = shortened(report.error.message, error_bytes(message.samples.size()));
    if (!report.failed) {
      ++note.samples;
    } else if (++note.failed == 1) {
      note.error = report.error.message;
    }
  }
  tell(std::move(note));
  held.told.push_back(message);
  held.told_at = now_;
  if (state_ == SessionState::kLive) data(std::move(message));
}

void WorkerCore::resend_results() {
  for (auto& [id, held] : shards_) {
    if (!held.owes() || now_ - held.told_at < options_.resend) continue;
    held.told_at = now_;
    for (const auto& [sample, leaving] : held.leaving) {
      if (leaving.told && !leaving.taken) data(*leaving.told);
    }
    for (const SamplesDone& message : held.told) data(message);
  }
}

void WorkerCore::forget(ShardId shard, bool cancel) {
  over_.insert(shard);
  const auto found = shards_.find(shard);
  if (found == shards_.end()) return;
  Held& held = found->second;
  if (cancel && held.running && held.rows_done < held.rows()) {
    emit(worker_action::Cancel{shard});
    tell(worker_note::ShardDropped{shard, "revoked"});
  }
  emit(worker_action::Close{held.input_stream()});
  emit(worker_action::Close{held.result_stream()});
  emit(worker_action::Unshare{shard});
  if (held.inputs.value != 0) emit(worker_action::Release{held.inputs});
  for (const BufferId buffer : held.results) emit(worker_action::Release{buffer});
  for (auto& [sample, leaving] : held.leaving) release_state(held, leaving);
  while (!held.saving.empty()) end_saving(held, held.saving.begin()->first);
  shards_.erase(found);
  moved_.erase(shard);
}

void WorkerCore::drop_all(const std::string& reason) {
  while (!shards_.empty()) {
    const ShardId shard = shards_.begin()->first;
    tell(worker_note::ShardDropped{shard, reason});
    forget(shard, true);
  }
}

void WorkerCore::send_progress() {
  WorkerProgress message{id_, {}, std::exchange(pass_reports_, {}), {}};
  if (busy_since_) message.busy_for = now_ - *busy_since_;
  for (const ShardId shard : moved_) {
    const Held& held = shards_.at(shard);
    message.shards.push_back({shard, held.steps, held.seconds, held.sample_steps});
  }
  for (auto& [shard, held] : shards_) {
    for (auto& [sample, preview] : held.previews) data(std::move(preview));
    held.previews.clear();
  }
  moved_.clear();
  next_progress_.reset();
  if (!message.shards.empty() || !message.passes.empty()) control(std::move(message));
}

}  // namespace pa
