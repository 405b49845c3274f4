// Samples and shards: who gets what, and what comes back.

#include <algorithm>

#include "coordinator/core/coordinator.h"

namespace pa {
namespace {

/// The pieces of `input` that belong to `samples` (ascending), placed one after the other from `at` on.
void append_rows(const AdmittedInput& input, BufferId buffer,
                 const std::vector<std::int64_t>& samples, std::uint64_t at,
                 std::vector<Piece>& pieces) {
  if (input.rows != RowsOf::kSample) {
    pieces.push_back({buffer, input.offset, input.row_bytes, at});
    return;
  }
  for (std::uint64_t group = 0; group < input.groups; ++group) {
    const std::uint64_t offset = input.offset + group * input.group_bytes;
    for (std::size_t i = 0; i < samples.size();) {
      std::size_t end = i + 1;
      while (end < samples.size() && samples[end] == samples[end - 1] + 1) ++end;
      const std::uint64_t bytes = (end - i) * input.row_bytes;
      pieces.push_back(
          {buffer, offset + static_cast<std::uint64_t>(samples[i]) * input.row_bytes, bytes, at});
      at += bytes;
      i = end;
    }
  }
}

/// What a failed sample says for its whole request.
Error error_of(const SampleReport& sample) {
  Error error = sample.error;
  if (error.code == Code::kWorkerLost) return error;  // It names both.
  error.message =
      "sample " + std::to_string(sample.sample) + " on " + sample.worker + ": " + error.message;
  return error;
}

/// What a shard of `samples` needs of a job's inputs.
struct ShardInput {
  std::vector<TensorSpec> tensors;
  std::vector<Piece> pieces;
  std::vector<Digest> digests;  ///< [tensors], of those that are blobs; empty if none are.
};

/// The digest of an input that is a blob of the job.
Digest blob_digest(const Job& job, const AdmittedInput& input) {
  for (const Blob& blob : job.blobs.blobs) {
    if (blob.offset == input.offset) return blob.digest;
  }
  return {};
}

ShardInput cut(const Job& job, const std::vector<std::int64_t>& samples) {
  ShardInput cut;
  std::vector<const AdmittedInput*> used;
  for (const AdmittedInput& input : job.admitted.inputs) {
    if (input.rows == RowsOf::kOne &&
        !std::binary_search(samples.begin(), samples.end(), input.only))
      continue;
    TensorSpec spec = input.spec;
    if (input.rows == RowsOf::kSample) spec.shape[input.axis] = std::ssize(samples);
    cut.tensors.push_back(std::move(spec));
    used.push_back(&input);
  }
  const Result<InputLayout> layout = input_layout(cut.tensors);
  PA_CHECK(layout.ok());  // part of a layout that was admitted
  for (std::size_t i = 0; i < used.size(); ++i) {
    append_rows(*used[i], job.input, samples, layout->offsets[i], cut.pieces);
    cut.digests.push_back(blob_digest(job, *used[i]));
  }
  // Those that were under way go on from where they were.
  for (const std::int64_t i : samples) {
    const Sample& sample = job.samples[static_cast<std::size_t>(i)];
    if (sample.checkpoint.value == 0) continue;
    TensorSpec spec{"checkpoint." + std::to_string(i),
                    DType::kU8,
                    {static_cast<std::int64_t>(sample.checkpoint_bytes)}};
    cut.tensors.push_back(std::move(spec));
    const Result<InputLayout> whole = input_layout(cut.tensors);
    PA_CHECK(whole.ok());
    cut.pieces.push_back({sample.checkpoint, 0, sample.checkpoint_bytes, whole->offsets.back()});
    cut.digests.emplace_back();
  }
  if (job.blobs.blobs.empty()) cut.digests.clear();
  return cut;
}

}  // namespace

std::vector<PlanCandidate> Coordinator::candidates(const Request& request) const {
  const std::string& model = request.model;
  const ModelInfo* const reference = workers_.model(model);
  const std::string identity = workers_.identity_of(model);
  std::vector<PlanCandidate> candidates;
  for (const auto& [id, worker] : workers_.all()) {
    PlanCandidate candidate{id, worker.weight, {}};
    const ModelInfo* info = model_of(worker, model);
    if (worker.state != WorkerState::kLive) {
      candidate.excluded = "is " + std::string(name_of(worker.state));
    } else if (info == nullptr) {
      candidate.excluded = "has no model '" + model + "'";
    } else if (info->identity != identity) {
      candidate.excluded = "its files of model '" + model + "' differ from the other workers'";
    } else if (!asks_for(request, worker)) {
      candidate.excluded = "the request asks for others";
    } else if (const std::string lora = other_lora(request, *reference, *info); !lora.empty()) {
      candidate.excluded = "its file of LoRA '" + lora + "' is not the other workers'";
    }
    candidates.push_back(std::move(candidate));
  }
  // By name, so that a plan does not depend on who joined first.
  std::sort(
      candidates.begin(), candidates.end(), [this](const PlanCandidate& a, const PlanCandidate& b) {
        return workers_.all().at(a.worker).hello.name < workers_.all().at(b.worker).hello.name;
      });
  return candidates;
}

std::vector<PlanShare> Coordinator::in_words(const Plan& plan) const {
  std::vector<PlanShare> shares;
  for (const PlannedShare& share : plan.shares) {
    const Worker& worker = workers_.all().at(share.worker);
    shares.push_back({worker.hello.name, worker.hello.device, worker.weight, share.samples,
                      share.reason, share.finish_seconds});
  }
  return shares;
}

void Coordinator::unqueue(Job& job) {
  for (const auto& [worker, samples] : job.planned) {
    const auto queue = queues_.find(worker);
    queue->second.erase(job.key);
    if (queue->second.empty()) queues_.erase(queue);
  }
  job.planned.clear();
}

void Coordinator::place(Job& job) {
  std::vector<std::int64_t> waiting(job.unplaced.begin(), job.unplaced.end());
  for (const auto& [worker, samples] : job.planned)
    waiting.insert(waiting.end(), samples.begin(), samples.end());
  for (const auto& [left, sample] : job.queue) waiting.push_back(sample);
  const bool levelled = job.request.op == Operation::kSample && !is_static(job);
  if (measured_.contains(job.id) != levelled) {
    if (levelled) {
      measured_.insert(job.id);
    } else {
      measured_.erase(job.id);
    }
    replan_ = true;
  }
  if (waiting.empty()) return;
  std::sort(waiting.begin(), waiting.end());
  unqueue(job);
  job.unplaced.clear();
  job.queue.clear();
  ready_.erase(job.id);

  if (awaits_offers(job)) {
    job.unplaced.assign(waiting.begin(), waiting.end());
    job.waiting_for = "workers that may still have its samples";
    return;
  }
  const std::vector<PlanCandidate> able = candidates(job.request);
  if (levelled && std::any_of(able.begin(), able.end(), [](const PlanCandidate& candidate) {
        return candidate.excluded.empty() && candidate.weight > 0;
      })) {
    job.waiting_for.clear();
    for (const std::int64_t sample : waiting) enqueue(job, sample);
    replan_ = true;
    return;
  }
  std::optional<Plan> measured;
  if (job.request.op == Operation::kForward && !is_static(job))
    measured = plan_forward(job, std::ssize(waiting));
  const Plan plan = measured ? *measured : plan_by_weight(std::ssize(waiting), able);
  if (!plan.placed) {
    job.unplaced.assign(waiting.begin(), waiting.end());
    job.waiting_for = workers_.all().empty() ? "no worker is connected"
                      : job.request.workers.empty()
                          ? "no live worker with a weight has model '" + job.request.model + "'"
                          : "none of the workers it asks for can run it now";
    progress_due_.insert(job.id);
    if (!next_progress_) next_progress_ = now_ + options_.progress_interval;
    return;
  }
  job.waiting_for.clear();
  auto next = waiting.begin();
  for (const PlannedShare& share : plan.shares) {
    if (share.samples == 0) continue;
    job.planned[share.worker].assign(next, next + share.samples);
    queues_[share.worker].emplace(job.key, job.id);
    next += share.samples;
  }
}

void Coordinator::replace_all() {
  membership_changed_ = false;
  replan_ = true;
  live_weight_ = 0;
  live_workers_ = 0;
  for (const auto& [id, worker] : workers_.all()) {
    if (worker.state != WorkerState::kLive || worker.weight <= 0) continue;
    live_weight_ += worker.weight;
    ++live_workers_;
  }
  for (auto& [id, job] : jobs_) {
    if (job.state != JobState::kRunning) continue;
    job.identity = workers_.identity_of(job.request.model);
    place(job);
  }
}

void Coordinator::dispatch() {
  std::vector<WorkerId> served;
  for (const auto& [id, queue] : queues_) served.push_back(id);
  for (const WorkerId id : served) {
    Worker* worker = workers_.find(id);
    if (worker == nullptr || worker->state != WorkerState::kLive || kept_from_others(*worker))
      continue;
    while (queues_.contains(id)) {
      const std::int64_t room =
          std::max<std::int64_t>(worker->hello.credit_samples, 1) - worker->held();
      if (room <= 0) break;
      Job& job = jobs_.at(queues_.at(id).begin()->second);
      std::deque<std::int64_t>& planned = job.planned.at(id);
      const auto count = std::min<std::int64_t>(room, std::ssize(planned));
      std::vector<std::int64_t> samples(planned.begin(), planned.begin() + count);
      planned.erase(planned.begin(), planned.begin() + count);
      if (planned.empty()) {
        job.planned.erase(id);
        queues_.at(id).erase(job.key);
        if (queues_.at(id).empty()) queues_.erase(id);
      }
      assign(*worker, job, std::move(samples));
    }
  }
}

void Coordinator::assign(Worker& worker, Job& job, std::vector<std::int64_t> samples) {
  const auto is_late = [&](std::int64_t i) {
    return job.samples[static_cast<std::size_t>(i)].late.value != 0;
  };
  if (samples.size() > 1) {  // One that a late worker has too is in a shard of its own.
    for (const std::int64_t i : samples) {
      if (is_late(i)) assign(worker, job, {i});
    }
    std::erase_if(samples, is_late);
    if (samples.empty()) return;
  }
  Shard shard;
  shard.id = ShardId{++last_shard_};
  shard.request = job.id;
  shard.worker = worker.id;
  shard.assigned_at = now_;
  shard.samples = samples;
  shard.open.insert(samples.begin(), samples.end());
  for (const std::int64_t i : samples) {
    Sample& sample = job.samples[static_cast<std::size_t>(i)];
    sample.state = SampleState::kAssigned;
    sample.at = worker.id;
    sample.steps = sample.saved_steps;
    sample.saved_at = now_;
    shard.attempt = std::max(shard.attempt, ++sample.attempts);
  }
  const std::int64_t count = std::ssize(samples);
  if (!is_at_hand(worker, job)) {
    worker.changed_at = now_;
    worker.prefetched.clear();
  }
  if (worker.assigned == 0) worker.pass_began = now_;
  worker.assigned += count;
  worker.shards.insert(shard.id);
  job.shards.insert(shard.id);
  DeviceTotals& totals = job.devices[worker.hello.name];
  totals.device = worker.hello.device;
  totals.assigned += count;
  if (!job.started_at) job.started_at = now_;

  ShardInput input = cut(job, samples);
  Assign message{
      shard.id,     job.id, job.body, samples, std::move(input.tensors), job.admitted.result,
      shard.attempt};
  message.result.shape[0] = count;
  message.run = job.run;
  std::uint64_t input_bytes = 0;
  for (const Piece& piece : input.pieces) input_bytes += piece.bytes;
  std::vector<BufferId> share;
  // Where a sample goes on lies in memory of the coordinator's own.
  const bool inputs_shared =
      worker.shares && job.input_shared && !input.pieces.empty() &&
      std::all_of(input.pieces.begin(), input.pieces.end(),
                  [&](const Piece& piece) { return piece.buffer == job.input; });
  if (inputs_shared) {
    message.segment = job.input.value;
    share.push_back(job.input);
    for (const Piece& piece : input.pieces) {
      message.sources.push_back({piece.offset, piece.bytes, piece.at});
    }
  }
  const bool has_blobs = !inputs_shared && worker.hello.blob_bytes > 0 && !input.digests.empty();
  if (has_blobs) {
    message.digests = std::move(input.digests);
    message.blob_scope = job.blobs.scope;
  }
  const std::uint64_t row_bytes = job.admitted.result_row_bytes;
  action::Receive receive{shard.result_stream(),
                          *worker.data,
                          job.result,
                          static_cast<std::uint64_t>(count) * row_bytes,
                          false,
                          rows_of(samples, row_bytes)};
  if (is_late(samples.front())) {
    shard.aside = BufferId{++last_buffer_};
    buffered_bytes_ += row_bytes;
    emit(action::Allocate{shard.aside, row_bytes, job.id});
    receive.buffer = shard.aside;
    receive.base = std::exchange(receive.places, {}).front().offset;
  }
  shard.in_place = worker.shares && job.result_shared && shard.aside.value == 0;
  if (shard.in_place) {
    message.result_segment = job.result.value;
    share.push_back(job.result);
  }
  emit(std::move(receive));
  send(*worker.data, std::move(message), std::move(share));
  // The worker asks for what it has not.
  if (!inputs_shared) send_pieces(worker, shard, input.pieces, has_blobs ? 0 : worker.hello.window);
  tell(note::ShardAssigned{job.id, shard.id, worker.hello.name, count, shard.attempt, input_bytes,
                           inputs_shared && shard.in_place});
  shards_.emplace(shard.id, std::move(shard));
}

/// Sends the inputs of a shard whose worker could not have them as shared memory.
void Coordinator::send_inputs(const Worker& worker, const Shard& shard) {
  const Job& job = jobs_.at(shard.request);
  std::vector<Piece> pieces = cut(job, shard.samples).pieces;
  std::erase_if(pieces, [&](const Piece& piece) { return piece.buffer != job.input; });
  send_pieces(worker, shard, pieces, worker.hello.window);
}

void Coordinator::send_pieces(const Worker& worker, const Shard& shard,
                              const std::vector<Piece>& pieces, std::uint64_t window) {
  if (pieces.empty()) return;
  emit(action::StartSending{shard.input_stream(), *worker.data, window, 0});
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    emit(action::Append{shard.input_stream(), pieces[i], i + 1 == pieces.size()});
  }
}

bool Coordinator::any_worker_shares() const {
  return std::any_of(workers_.all().begin(), workers_.all().end(),
                     [](const auto& entry) { return entry.second.shares; });
}

void Coordinator::compare_holdings(Worker& worker, const std::vector<ShardId>& held) {
  for (const ShardId id : held) {
    const Shard* shard = find(id);
    if (shard == nullptr || shard->worker != worker.id) send(worker.control, Revoke{id});
  }
  // A beat may have left before an Assign arrived, but not long before.
  const TimePoint settled = now_ - options_.liveness.suspect_after;
  for (const ShardId id : std::set<ShardId>(worker.shards)) {
    const bool is_held = std::find(held.begin(), held.end(), id) != held.end();
    if (!is_held && find(id) != nullptr && find(id)->assigned_at <= settled)
      lose_shard(id, "does not hold it");
  }
}

void Coordinator::on_samples_done(Worker& worker, const SamplesDone& message) {
  Shard* shard = find(message.shard);
  if (shard == nullptr || shard->worker != worker.id)
    return send(worker.control, Revoke{message.shard});
  const bool seen =
      std::none_of(message.samples.begin(), message.samples.end(), [&](const SampleReport& report) {
        const bool is_expected =
            shard->open.contains(report.sample) || shard->late.contains(report.sample);
        return is_expected && !shard->is_pending(report.sample);
      });
  if (message.samples.empty() || (seen && message.stream_upto <= shard->announced))
    return;  // sent again
  std::uint64_t rows = 0;
  std::set<std::int64_t> told;
  for (const SampleReport& report : message.samples) {
    if (shard->late.contains(report.sample)) {
      take_back(*shard, report.sample);
      pass_ended(worker);
    }
    rows += report.failed ? 0 : 1;
    if (!shard->open.contains(report.sample) || shard->is_pending(report.sample) ||
        !told.insert(report.sample).second) {
      return lose_shard(shard->id, "protocol: it reported sample " + std::to_string(report.sample) +
                                       " out of turn");
    }
  }
  const std::uint64_t row_bytes = jobs_.at(shard->request).admitted.result_row_bytes;
  if (message.in_place && !shard->in_place) {
    return lose_shard(shard->id, "protocol: it was given no memory to write to");
  }
  const std::uint64_t streamed = message.in_place ? 0 : rows * row_bytes;
  const std::uint64_t begin = message.stream_upto - streamed;
  if (message.stream_upto < streamed || (begin < shard->announced && streamed > 0)) {
    return lose_shard(shard->id, "protocol: the bytes it announced do not match its samples");
  }
  if (begin > shard->announced) {  // It overtook another, which speaks of the bytes before.
    const auto [first, last] = shard->early.equal_range(begin);
    const bool is_known = std::any_of(first, last, [&](const auto& entry) {
      return entry.second.samples.front().sample == message.samples.front().sample;
    });
    if (is_known) return;  // sent again
    if (shard->early.size() >= shard->samples.size())
      return lose_shard(shard->id, "protocol: it announced bytes, and others before them never");
    shard->early.emplace(begin, message);
    return;
  }
  const ShardId id = shard->id;
  shard->announced = std::max(shard->announced, message.stream_upto);
  shard->pending.push_back(message);
  emit(action::Expect{shard->result_stream(), shard->announced});
  complete_pending(*shard);
  shard = find(id);
  if (shard == nullptr) return;
  if (auto next = shard->early.extract(shard->announced)) on_samples_done(worker, next.mapped());
}

void Coordinator::pass_on(const Worker& worker, const SamplePreview& preview) {
  const Shard* const shard = find(preview.shard);
  if (shard == nullptr || shard->worker != worker.id || !shard->open.contains(preview.sample)) {
    return;  // Late: the sample has ended, or is elsewhere.
  }
  const bool fits = preview.width > 0 && preview.width <= kMaxPreviewSide && preview.height > 0 &&
                    preview.height <= kMaxPreviewSide &&
                    std::ssize(preview.rgb) == preview.width * preview.height * 3;
  const Job& job = jobs_.at(shard->request);
  if (!fits || !job.client) return;
  SamplePreview message = preview;
  message.request = job.id;
  message.shard = {};
  send(*job.client, std::move(message));
}

void Coordinator::complete_pending(Shard& shard) {
  const ShardId id = shard.id;
  while (Shard* open = find(id)) {
    if (open->pending.empty() || open->arrived < open->pending.front().stream_upto) return;
    const SamplesDone message = std::move(open->pending.front());
    open->pending.pop_front();
    finish_samples(*open, message);
  }
}

void Coordinator::finish_samples(Shard& shard, const SamplesDone& message) {
  if (drop_bad_checkpoint(shard, message)) return;
  Job& job = jobs_.at(shard.request);
  Worker& worker = *workers_.find(shard.worker);
  DeviceTotals& totals = job.devices[worker.hello.name];
  std::int64_t finished = 0;
  std::int64_t steps = 0;
  std::optional<Error> fatal;  // What is wrong with the request, not with one sample.
  std::vector<std::pair<std::int64_t, std::int64_t>> runs;  // first, count
  for (const SampleReport& told : message.samples) {
    const auto index = static_cast<std::size_t>(told.sample);
    if (job.samples[index].late.value != 0) lose_late_copy(job.samples[index].late);
    if (shard.aside.value != 0 && !told.failed) {
      const std::uint64_t row = job.admitted.result_row_bytes;
      emit(action::Copy{shard.aside, job.result, static_cast<std::uint64_t>(told.sample) * row,
                        job.id});
    }
    SampleReport& report = job.reports[index];
    report = told;
    report.worker = worker.hello.name;
    report.device = worker.hello.device;
    report.attempts = job.samples[index].attempts;
    shard.open.erase(told.sample);
    --worker.assigned;
    if (job.samples[index].move.value != 0) end_move(job.samples[index].move);
    if (job.samples[index].save.value != 0) end_save(job.samples[index].save);
    forget_checkpoint(job, told.sample);
    job.samples[index].at = WorkerId{0};
    if (told.failed) {
      job.samples[index].state = SampleState::kFailed;
      ++job.failed;
      if (!fatal && told.error.code == Code::kInvalid) fatal = error_of(report);
      continue;
    }
    job.samples[index].state = SampleState::kDone;
    ++job.done;
    ++finished;
    steps += told.steps;
    if (!runs.empty() && told.sample == runs.back().first + runs.back().second) {
      ++runs.back().second;
    } else {
      runs.emplace_back(told.sample, 1);
    }
  }
  sample_ended(worker);
  for (const auto& [first, count] : runs) append_result(job, first, count);
  if (job.journalled) {
    std::vector<SampleReport> reports;
    for (const SampleReport& told : message.samples)
      reports.push_back(job.reports[static_cast<std::size_t>(told.sample)]);
    emit(action::JournalSamples{job.id, job.admitted.result_row_bytes, std::move(reports),
                                job.result});
  }
  totals.done += finished;
  WorkerTotals& lifetime = totals_[worker.hello.name];
  lifetime.samples += finished;
  lifetime.steps += steps;
  progress_due_.insert(job.id);
  if (!next_progress_) next_progress_ = now_ + options_.progress_interval;
  tell(note::SamplesFinished{job.id, worker.hello.name, finished, steps,
                             static_cast<std::uint64_t>(finished) * job.admitted.result_row_bytes});
  if (shard.is_over()) drop_shard(shard.id);
  if (fatal && !job.request.partial) {
    end(job, fatal);
  } else {
    end_if_complete(job);
  }
}

void Coordinator::append_result(Job& job, std::int64_t first, std::int64_t count) {
  const std::uint64_t row = job.admitted.result_row_bytes;
  const std::uint64_t offset = static_cast<std::uint64_t>(first) * row;
  const std::uint64_t bytes = static_cast<std::uint64_t>(count) * row;
  job.result_appended += bytes;
  if (!job.result_streamed) return;
  const bool last = job.result_appended == row * job.samples.size();
  emit(action::Append{job.result_stream(), Piece{job.result, offset, bytes, offset}, last});
}

void Coordinator::end_if_complete(Job& job) {
  if (job.done + job.failed < job.request.samples) return;
  if (job.done == 0) {
    const auto failed = std::find_if(job.reports.begin(), job.reports.end(),
                                     [](const SampleReport& report) { return report.failed; });
    return end(job, error_of(*failed));
  }
  end(job, std::nullopt);
}

void Coordinator::drop_shard(ShardId id) {
  const auto found = shards_.find(id);
  PA_CHECK(found != shards_.end());
  Shard& shard = found->second;
  Job& job = jobs_.at(shard.request);
  for (const std::int64_t i : shard.open) {
    const Sample& sample = job.samples[static_cast<std::size_t>(i)];
    if (sample.move.value != 0) end_move(sample.move);
    if (sample.save.value != 0) end_save(sample.save);
  }
  for (const auto& [i, copy] : shard.late) {
    job.samples[static_cast<std::size_t>(i)].late = ShardId{0};
  }
  if (Worker* worker = workers_.find(shard.worker)) {
    send(worker->control, Revoke{id});
    worker->assigned -= std::ssize(shard.open);
    worker->hedged -= std::ssize(shard.late);
    worker->shards.erase(id);
    if (worker->lone == id) worker->lone = ShardId{0};
    hungry_.insert(worker->id);
    DeviceTotals& totals = job.devices[worker->hello.name];
    totals.assigned -= std::ssize(shard.open);
    totals.steps += shard.steps;
    totals.seconds += shard.seconds;
    totals_[worker->hello.name].busy_seconds += shard.seconds;
  }
  job.shards.erase(id);
  job.late_writers = job.late_writers || (shard.in_place && !shard.is_over());
  emit(action::Close{shard.input_stream()});
  emit(action::Close{shard.result_stream()});
  if (shard.aside.value != 0) {
    emit(action::Release{shard.aside});
    buffered_bytes_ -= job.admitted.result_row_bytes;
  }
  shards_.erase(found);
}

/// Where an assigned sample is.
ShardId Coordinator::shard_of(const Job& job, std::int64_t number) const {
  const WorkerId at = job.samples[static_cast<std::size_t>(number)].at;
  const auto found = std::find_if(job.shards.begin(), job.shards.end(), [&](ShardId id) {
    return shards_.at(id).worker == at && shards_.at(id).open.contains(number);
  });
  PA_CHECK(found != job.shards.end());
  return *found;
}

}  // namespace pa
