// The client's side of the coordinator: from Submit to DoneAck.

#include <algorithm>
#include <utility>

#include "coordinator/core/coordinator.h"
#include "shared/core/nearest.h"
#include "shared/core/utf8.h"

namespace pa {
namespace {

bool same_content(const Job& job, const Submit& submit) {
  return job.body == submit.body &&
         std::equal(job.tensors.begin(), job.tensors.end(), submit.tensors.begin(),
                    submit.tensors.end(), [](const TensorEntry& a, const TensorEntry& b) {
                      return a.spec == b.spec && a.digest == b.digest;
                    });
}

}  // namespace

void Coordinator::on(const event::Submitted& event) {
  const Submit& submit = event.submit;
  if (Job* known = find(submit.request)) {
    if (!same_content(*known, submit) || known->owner.value_or(event.who) != event.who) {
      return refuse(event.peer, submit.request,
                    invalid("request id " + to_string(submit.request) +
                            " is in use for another request; make a new id"));
    }
    return resubmitted(*known, event.peer, submit, event.shares);
  }

  if (tombstones_.contains(submit.request)) {
    // Most likely a late copy, whose client does not listen any more.
    return send(event.peer, Refused{submit.request,
                                    invalid("request " + to_string(submit.request) +
                                            " is over, and its result was delivered; make a new "
                                            "id to run it again"),
                                    0});
  }
  Result<Admitted> admitted = check(submit, event.body);
  if (!admitted.ok()) return refuse(event.peer, submit.request, admitted.error());

  Job job;
  job.id = submit.request;
  job.request = *event.body;
  job.admitted = std::move(admitted).value();
  job.model = *model_for(job.request.model);
  characterise(job);
  job.payer = event.who.empty() ? std::to_string(event.peer.value) : event.who;
  job.samples.resize(static_cast<std::size_t>(job.request.samples));
  if (const Status feasible = check_deadline(job); !feasible.ok())
    return refuse(event.peer, submit.request, feasible.error());
  if (submit.plan_only) {
    explain(job);
    return send(event.peer, Accepted{submit.request, options_.epoch << 32, job.admitted.result,
                                     job.plan, job.plan_seconds, job.plan_limit});
  }
  job.key = {-job.request.priority, ++last_sequence_};
  job.run = (options_.epoch << 32) + last_sequence_;
  job.client = event.peer;
  job.owner = event.who;
  job.client_window = submit.window;
  job.body = submit.body;
  job.tensors = submit.tensors;
  job.reports.resize(job.samples.size());
  job.admitted_at = now_;
  job.client_shares = event.shares;
  job.input = BufferId{++last_buffer_};
  job.result = BufferId{++last_buffer_};
  const std::uint64_t result_bytes = job.admitted.result_row_bytes * job.samples.size();
  buffered_bytes_ += job.admitted.layout_bytes + result_bytes;
  ++active_;
  if (job.request.deadline_seconds > 0) {
    job.deadline = now_ + from_seconds(job.request.deadline_seconds);
    timers_.emplace(*job.deadline, job.id);
  }
  const bool to_workers = any_worker_shares();
  job.result_shared = result_bytes >= kShareFromBytes && (to_workers || job.client_shares);
  job.result_in_client = job.result_shared && event.result_segment_bytes >= result_bytes;
  const bool inputs_here =
      submit.segment != 0 &&
      event.segment_bytes >= std::max<std::uint64_t>(job.admitted.layout_bytes, 1);
  job.input_shared = inputs_here || (to_workers && job.admitted.layout_bytes >= kShareFromBytes);
  if (inputs_here) {
    emit(action::AdoptSegment{job.input, job.admitted.layout_bytes});
  } else {
    emit(action::Allocate{job.input, job.admitted.layout_bytes, job.id, job.input_shared});
  }
  if (job.result_in_client) {
    emit(action::AdoptSegment{job.result, result_bytes, true});
  } else {
    emit(action::Allocate{job.result, result_bytes, job.id, job.result_shared});
  }
  job.input_received = !inputs_here;
  name_blobs(job, client_scope(event.who));
  Job& kept = jobs_.emplace(job.id, std::move(job)).first->second;
  if (inputs_here || kept.admitted.input_bytes == 0) return inputs_complete(kept);
  receive_inputs(kept, event);
}

void Coordinator::name_blobs(Job& job, const std::string& scope) {
  job.blobs.scope = scope;
  for (std::size_t i = 0; i < job.tensors.size(); ++i) {
    const AdmittedInput& input = job.admitted.inputs[i];
    const Digest& digest = job.tensors[i].digest;
    // Of a lone sample these have one row, too; but no other sample or request ever has the same.
    const bool of_its_own = input.spec.name == "x" || input.spec.name == "noise";
    if (input.rows == RowsOf::kAll && !of_its_own && is_blob(digest, input.row_bytes))
      job.blobs.blobs.push_back({digest, input.offset, input.row_bytes});
  }
}

void Coordinator::receive_inputs(Job& job, const event::Submitted& event) {
  std::vector<TensorSpec> specs;
  for (const AdmittedInput& input : job.admitted.inputs) specs.push_back(input.spec);
  for (std::size_t i = 0; i < std::min(specs.size(), event.blobs_here.size()); ++i) {
    if (!event.blobs_here[i]) continue;
    emit(action::FillIn{i, job.input, job.admitted.inputs[i].offset, job.id});
  }
  // A little comes without being asked for, unless the client thought that we have it.
  const bool ask = event.submit.segment != 0 || job.admitted.input_bytes > kEagerBytes;
  emit(action::Receive{job.input_stream(),
                       event.peer,
                       job.input,
                       job.admitted.input_bytes,
                       ask,
                       {},
                       ranges_here(specs, event.blobs_here)});
  emit(action::Expect{job.input_stream(), job.admitted.input_bytes});
}

/// As workers have it, or had it until a moment ago: they are being started again, say.
const ModelInfo* Coordinator::model_for(const std::string& name) const {
  if (const ModelInfo* model = workers_.model(name)) return model;
  const auto left = left_models_.find(name);
  return left != left_models_.end() && now_ < left->second.until ? &left->second.model : nullptr;
}

Result<Admitted> Coordinator::check(const Submit& submit, const Result<Request>& body) const {
  if (submit.protocol != kProtocolVersion) {
    return invalid("the client speaks protocol " + std::to_string(submit.protocol) +
                   ", this coordinator " + std::to_string(kProtocolVersion) +
                   ": use programs of one version");
  }
  if (!body.ok()) return body.error();
  if (shutdown_at_) return unavailable("the coordinator is shutting down");

  const ModelInfo* model = submit.plan_only ? workers_.model(body->model) : model_for(body->model);
  if (model == nullptr) {
    const std::set<std::string> known = workers_.model_names();
    if (known.empty()) return unavailable("no worker is live");
    const std::vector<std::string> names(known.begin(), known.end());
    return Error{
        Code::kUnavailable,
        "no live worker has a model '" + body->model + "'" + suggestion(body->model, names),
        "/model"};
  }
  PA_TRY(check_workers(*body));
  Result<Admitted> admitted = admit(*body, submit.tensors, *model, options_.admission);
  if (!admitted.ok() || submit.plan_only) return admitted;

  const std::uint64_t bytes =
      admitted->layout_bytes +
      admitted->result_row_bytes * static_cast<std::uint64_t>(body->samples);
  if (std::ssize(jobs_) >= options_.max_requests) {
    return overloaded("the coordinator holds " + std::to_string(jobs_.size()) +
                      " requests, its limit");
  }
  const bool journalled = options_.durable && body->op == Operation::kSample;
  if (journalled &&
      (bytes > options_.max_journal_bytes || journal_bytes_ > options_.max_journal_bytes - bytes)) {
    return overloaded("the request needs " + std::to_string(bytes) + " bytes of the journal; " +
                      std::to_string(journal_bytes_) + " of its " +
                      std::to_string(options_.max_journal_bytes) + " are in use");
  }
  if (bytes > options_.max_total_bytes || buffered_bytes_ > options_.max_total_bytes - bytes) {
    return overloaded("the request needs " + std::to_string(bytes) + " bytes; " +
                      std::to_string(buffered_bytes_) + " of the coordinator's " +
                      std::to_string(options_.max_total_bytes) + " are in use");
  }
  return admitted;
}

/// That the workers it asks for are there, or were until lately.
Status Coordinator::check_workers(const Request& request) const {
  for (std::size_t i = 0; i < request.workers.size(); ++i) {
    const std::string& name = request.workers[i];
    if (totals_.contains(name) || lost_.contains(name)) continue;
    std::vector<std::string> names;
    for (const auto& [id, worker] : workers_.all()) names.push_back(worker.hello.name);
    if (std::find(names.begin(), names.end(), name) != names.end()) continue;
    return Error{Code::kUnavailable, "there is no worker '" + name + "'" + suggestion(name, names),
                 "/workers/" + std::to_string(i)};
  }
  return {};
}

void Coordinator::refuse(PeerId peer, const RequestId& request, const Error& error) {
  Refused refused{request, error, 0};
  if (error.code == Code::kOverloaded || error.code == Code::kUnavailable)
    refused.retry_after_seconds = 1;
  tell(note::RequestRefused{request, error});
  send(peer, std::move(refused));
}

void Coordinator::resubmitted(Job& job, PeerId peer, const Submit& submit, bool shares) {
  const bool moved = job.client != peer;
  if (moved) {
    if (job.client) emit(action::ForgetPeer{*job.client});
    job.client = peer;
    job.client_window = submit.window;
    job.client_shares = shares;
    job.result_in_client = false;  // It is given the memory anew, as anyone else.
  }
  switch (job.state) {
    case JobState::kReceiving:
      // The client asks because it heard nothing: tell it how far we are.
      emit(action::Receive{job.input_stream(), peer, job.input, job.admitted.input_bytes, true});
      return;
    case JobState::kJournaling:
      return;
    case JobState::kRunning:
    case JobState::kDone:
      send_accepted(job);
      if (moved) {
        const std::uint64_t from = submit.result_run == job.run ? submit.result_from : 0;
        if (job.result_streamed) {
          emit(action::StartSending{job.result_stream(), peer, job.client_window,
                                    std::min(from, job.result_appended)});
        } else if (!job.client_shares) {
          stream_result(job, 0);
        }
      }
      if (job.state == JobState::kDone) {
        if (!job.untold) send(peer, job.outcome);
      } else {
        send_progress(job);
      }
      return;
  }
}

void Coordinator::inputs_complete(Job& job) {
  if (job.state != JobState::kReceiving) return;
  emit(action::Close{job.input_stream()});
  if (job.input_received && !job.blobs.blobs.empty()) emit(action::KeepBlobs{job.input, job.blobs});
  if (job.request.op == Operation::kForward) return accept(job);  // volatile: never journalled
  job.state = JobState::kJournaling;
  job.journalled = true;
  journal_bytes_ += job.admitted.layout_bytes + job.admitted.result_row_bytes * job.samples.size();
  Submit submit;
  submit.request = job.id;
  submit.body = job.body;
  submit.tensors = job.tensors;
  emit(action::JournalRequest{std::move(submit), job.model, job.input});
}

void Coordinator::accept(Job& job) {
  job.state = JobState::kRunning;
  for (std::int64_t i = 0; i < job.request.samples; ++i) job.unplaced.push_back(i);
  explain(job);
  begin_share(job);
  tell(note::RequestAccepted{job.id, job.request.model, job.request.samples, job.plan});
  send_accepted(job);
  if (!job.result_shared || !job.client_shares) stream_result(job, 0);
  place(job);
  prefetch(job);
}

void Coordinator::characterise(Job& job) {
  job.kind.model = job.request.model;
  job.loras = key_of(job.request.loras);
  job.kind.row.assign(job.admitted.result.shape.begin() + 1, job.admitted.result.shape.end());
  job.identity = workers_.identity_of(job.request.model);
}

void Coordinator::begin_share(Job& job) {
  // Who comes now is owed nothing for the time before: it starts level with whoever was given least.
  job.shares = true;
  Payer& payer = payers_[job.payer];
  if (++payer.jobs == 1) {
    std::optional<double> least;
    for (const auto& [name, other] : payers_) {
      if (name != job.payer) least = std::min(least.value_or(other.served), other.served);
    }
    payer.served = least.value_or(0);
    const auto weight = options_.client_weights.find(job.payer);
    payer.weight = weight == options_.client_weights.end() ? 1 : weight->second;
  }
  std::optional<double> least;
  for (const auto& [id, other] : jobs_) {
    if (id != job.id && other.state == JobState::kRunning && other.payer == job.payer)
      least = std::min(least.value_or(other.served), other.served);
  }
  job.served = least.value_or(0);
}

void Coordinator::send_accepted(const Job& job) {
  if (!job.client) return;
  Accepted accepted{job.id,   job.run,          job.admitted.result,
                    job.plan, job.plan_seconds, job.plan_limit};
  std::vector<BufferId> share;
  if (job.result_shared && job.client_shares && !job.result_streamed) {
    accepted.in_your_memory = job.result_in_client;
    if (!job.result_in_client) {
      accepted.segment = job.result.value;
      share.push_back(job.result);
    }
  }
  send(*job.client, std::move(accepted), std::move(share));
}

/// Begins to send the client the result's bytes: those of the samples that are done, and later ones
/// as they come.
void Coordinator::stream_result(Job& job, std::uint64_t from) {
  PA_CHECK(!job.result_streamed);
  job.result_streamed = true;
  emit(action::StartSending{job.result_stream(), job.client.value_or(PeerId{0}),
                            job.client ? job.client_window : 0, from});
  job.result_appended = 0;
  for (std::int64_t i = 0; i < job.request.samples; ++i) {
    const bool done = job.samples[static_cast<std::size_t>(i)].state == SampleState::kDone;
    if (done) append_result(job, i, 1);
  }
}

void Coordinator::on(const event::NoMemory& event) {
  Job* job = find(event.request);
  if (job == nullptr || !job->active()) return;
  if (job->client) {
    refuse(*job->client, job->id,
           overloaded("the coordinator has no memory for the request's tensors"));
  }
  job->client.reset();  // it has its answer
  end(*job, overloaded("no memory"));
  if (find(event.request) != nullptr) erase(event.request);
}

void Coordinator::on(const event::FromClient& event) {
  if (const auto* ack = std::get_if<DoneAck>(&event.message)) {
    const Job* job = find(ack->request);
    if (job == nullptr || job->active()) return;
    erase(ack->request);
    tombstones_.insert(ack->request);
  } else if (const auto* wish = std::get_if<Cancel>(&event.message)) {
    cancel(event.peer, wish->request);
  } else if (const auto* query = std::get_if<StatusQuery>(&event.message)) {
    send_status(event.peer, query->tag);
  } else {
    tell(note::ProtocolError{event.peer, "a client sent " + std::string(name_of(event.message))});
  }
}

void Coordinator::cancel(PeerId peer, const RequestId& request) {
  Job* job = find(request);
  if (job == nullptr)
    return refuse(peer, request, invalid("there is no request " + to_string(request)));
  const bool by_another = job->client != peer;
  const Error cancelled{Code::kCancelled, "cancelled by a client", {}};
  if (job->active()) end(*job, cancelled);
  if (!by_another) return;
  const Job* ended = find(request);  // nullptr if nobody can come for it
  Done answer;
  answer.request = request;
  answer.failed = true;
  answer.error = cancelled;
  send(peer, ended != nullptr ? ended->outcome : answer);
}

void Coordinator::end(Job& job, const std::optional<Error>& error) {
  PA_CHECK(job.active());
  unqueue(job);
  job.unplaced.clear();
  job.queue.clear();
  job.alone.clear();
  ready_.erase(job.id);
  alone_.erase(job.id);
  struck_.erase(job.id);
  if (measured_.erase(job.id) > 0) replan_ = replan_ || !measured_.empty();
  for (const ShardId shard : std::set<ShardId>(job.shards)) drop_shard(shard);
  for (std::int64_t i = 0; i < std::ssize(job.samples); ++i) forget_checkpoint(job, i);
  if (std::exchange(job.shares, false) && --payers_.at(job.payer).jobs == 0)
    payers_.erase(job.payer);
  if (job.deadline) timers_.erase({*job.deadline, job.id});
  emit(action::Close{job.input_stream()});
  emit(action::Release{job.input});
  buffered_bytes_ -= job.admitted.layout_bytes;
  const bool was_accepted = job.state == JobState::kRunning;
  job.state = JobState::kDone;
  job.ended_at = now_;
  --active_;

  Done& done = job.outcome;
  done.request = job.id;
  done.run = was_accepted ? job.run : 0;
  done.failed = error.has_value();
  if (error) done.error = *error;
  done.result_bytes = job.result_appended;
  done.seconds = to_seconds(now_ - job.admitted_at);
  done.queue_seconds = to_seconds(job.started_at.value_or(now_) - job.admitted_at);
  done.late_writers = job.late_writers;
  for (std::size_t i = 0; i < job.samples.size(); ++i) {
    const SampleState state = job.samples[i].state;
    if (state != SampleState::kDone && state != SampleState::kFailed) continue;
    done.samples.push_back(job.reports[i]);
    Error& reason = done.samples.back().error;
    reason.message = shortened(reason.message, error_bytes(job.samples.size()));
  }
  progress_due_.erase(job.id);
  if (job.late_writers) emit(action::Freeze{job.result});
  if (was_accepted && job.client && !error) send_progress(job);
  if (job.journalled) {
    job.untold = true;
    emit(action::JournalOutcome{done});
  } else if (job.client) {
    send(*job.client, done);
  }
  timers_.emplace(now_ + options_.retention, job.id);
  tell(note::RequestFinished{job.id, error ? std::string(name_of(error->code)) : "ok",
                             error ? error->message : "", job.request.samples, done.seconds,
                             done.queue_seconds});
  if (job.client) return;
  if (job.request.op == Operation::kForward) return erase(job.id);
  limit_retained();
}

void Coordinator::erase(const RequestId& request) {
  Job* job = find(request);
  PA_CHECK(job != nullptr && !job->active());
  timers_.erase({job->ended_at + options_.retention, request});
  emit(action::Close{job->result_stream()});
  emit(action::Release{job->result});
  buffered_bytes_ -= job->admitted.result_row_bytes * job->samples.size();
  if (job->journalled) {
    emit(action::JournalErase{request});
    journal_bytes_ -=
        job->admitted.layout_bytes + job->admitted.result_row_bytes * job->samples.size();
  }
  jobs_.erase(request);
}

void Coordinator::limit_retained() {
  std::uint64_t bytes = 0;
  for (const auto& [id, job] : jobs_) {
    if (!job.active() && !job.client) bytes += job.admitted.result_row_bytes * job.samples.size();
  }
  const auto timers = timers_;
  for (const auto& [at, id] : timers) {  // the one that ended first ends its retention first
    if (bytes <= options_.retention_bytes) return;
    const Job* job = find(id);
    if (job == nullptr || job->active() || job->client) continue;
    bytes -= job->admitted.result_row_bytes * job->samples.size();
    erase(id);
  }
}

void Coordinator::send_progress(Job& job) {
  if (!job.client) return;
  RequestProgress progress;
  progress.request = job.id;
  progress.samples = job.request.samples;
  progress.done = job.done + job.failed;
  progress.steps_total = job.request.samples * job.admitted.steps_per_sample;
  progress.waiting_for = job.waiting_for;
  std::map<std::string, DeviceTotals> devices = job.devices;
  for (const ShardId id : job.shards) {
    const Shard& shard = shards_.at(id);
    const Worker* worker = workers_.find(shard.worker);
    DeviceTotals& totals = devices[worker->hello.name];
    totals.steps += shard.steps;
    totals.seconds += shard.seconds;
  }
  for (const auto& [name, totals] : devices) {
    progress.steps += totals.steps;
    progress.devices.push_back(
        {name, totals.device, totals.assigned, totals.done, totals.steps, totals.seconds});
  }
  send(*job.client, std::move(progress));
}

}  // namespace pa
