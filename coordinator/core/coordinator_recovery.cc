// What the journal tells: that something is durable, and what an earlier life left.

#include <limits>

#include "coordinator/core/coordinator.h"

namespace pa {
namespace {

std::string name_of(event::Journaled::What what) {
  switch (what) {
    case event::Journaled::What::kRequest:
      return "request";
    case event::Journaled::What::kSamples:
      return "samples";
    case event::Journaled::What::kOutcome:
      return "outcome";
  }
  return "";
}

}  // namespace

void Coordinator::on(const event::Journaled& event) {
  if (!event.status.ok())
    tell(note::JournalFailed{event.request, name_of(event.what), event.status.error()});
  Job* job = find(event.request);
  if (job == nullptr) return;
  switch (event.what) {
    case event::Journaled::What::kRequest:
      if (job->state != JobState::kJournaling) return;
      if (event.status.ok()) return accept(*job);
      if (job->client) {
        refuse(*job->client, job->id,
               overloaded("the request could not be made safe: " + event.status.error().message));
      }
      job->client.reset();  // it has its answer
      end(*job, event.status.error());
      if (find(event.request) != nullptr) erase(event.request);
      return;
    case event::Journaled::What::kSamples:
      return;
    case event::Journaled::What::kOutcome:
      // A result that could not be kept is still the client's.
      return tell_outcome(*job);
  }
}

void Coordinator::tell_outcome(Job& job) {
  if (!job.untold) return;
  job.untold = false;
  if (job.client) send(*job.client, job.outcome);
}

void Coordinator::on(const event::RecoveredEnded& event) {
  for (const RequestId& request : event.requests) tombstones_.insert(request);
}

void Coordinator::on(const event::Recovered& event) {
  PA_CHECK(find(event.submit.request) == nullptr);
  Job job;
  job.id = event.submit.request;
  job.key = {event.body.ok() ? -event.body->priority : 0, ++last_sequence_};
  job.run = (options_.epoch << 32) + last_sequence_;
  job.body = event.submit.body;
  job.tensors = event.submit.tensors;
  job.model = event.model;
  job.admitted_at = now_ - event.age;
  job.journalled = true;
  job.recovered = true;
  job.result_streamed = true;

  // It was admitted once; only a version with other rules can refuse it now.
  std::optional<Error> refused;
  AdmissionLimits no_limits;
  no_limits.max_samples = std::numeric_limits<std::int64_t>::max();
  no_limits.max_request_bytes = std::numeric_limits<std::uint64_t>::max();
  if (event.body.ok()) {
    job.request = *event.body;
    Result<Admitted> admitted = admit(job.request, job.tensors, job.model, no_limits);
    if (admitted.ok()) {
      job.admitted = std::move(admitted).value();
    } else {
      refused = admitted.error();
    }
  } else {
    refused = event.body.error();
  }
  if (refused) job.request.samples = 0;
  job.samples.resize(static_cast<std::size_t>(job.request.samples));
  job.reports.resize(job.samples.size());
  const std::uint64_t result_bytes = job.admitted.result_row_bytes * job.samples.size();
  job.input = BufferId{++last_buffer_};
  job.result = BufferId{++last_buffer_};
  buffered_bytes_ += job.admitted.layout_bytes + result_bytes;
  journal_bytes_ += job.admitted.layout_bytes + result_bytes;
  ++active_;
  job.state = JobState::kRunning;
  emit(action::Restore{job.id, job.input, job.result, result_bytes});
  Job& kept = jobs_.emplace(job.id, std::move(job)).first->second;
  emit(action::StartSending{kept.result_stream(), PeerId{0}, 0, 0});

  for (const SampleReport& report : event.finished) restore_sample(kept, report);
  for (std::int64_t i = 0; i < kept.request.samples; ++i) {
    if (kept.samples[static_cast<std::size_t>(i)].state == SampleState::kWaiting)
      kept.unplaced.push_back(i);
  }
  tell(note::RequestRecovered{kept.id, kept.request.model, kept.request.samples,
                              kept.done + kept.failed, event.outcome.has_value()});
  if (refused) {
    return end(kept, invalid("this version cannot go on with the request: " + refused->message,
                             refused->field));
  }
  if (event.outcome) return restore_outcome(kept, *event.outcome);
  if (options_.offer_wait > Duration{0}) offers_until_ = now_ + options_.offer_wait;
  characterise(kept);
  name_blobs(kept, "request " + to_string(kept.id));
  kept.payer = "recovered";
  begin_share(kept);
  if (kept.request.deadline_seconds > 0) {
    kept.deadline = kept.admitted_at + from_seconds(kept.request.deadline_seconds);
    timers_.emplace(*kept.deadline, kept.id);
  }
  if (kept.done + kept.failed == kept.request.samples) return end_if_complete(kept);
  place(kept);
}

void Coordinator::restore_sample(Job& job, const SampleReport& report) {
  if (report.sample < 0 || report.sample >= job.request.samples) return;
  const auto index = static_cast<std::size_t>(report.sample);
  if (job.samples[index].state != SampleState::kWaiting) return;
  job.reports[index] = report;
  job.samples[index].attempts = report.attempts;
  DeviceTotals& totals = job.devices[report.worker];
  totals.device = report.device;
  ++totals.assigned;
  if (report.failed) {
    job.samples[index].state = SampleState::kFailed;
    ++job.failed;
    return;
  }
  job.samples[index].state = SampleState::kDone;
  ++job.done;
  ++totals.done;
  totals.steps += report.steps;
  totals.seconds += report.seconds;
  append_result(job, report.sample, 1);
}

void Coordinator::restore_outcome(Job& job, const Done& outcome) {
  job.unplaced.clear();
  emit(action::Release{job.input});
  buffered_bytes_ -= job.admitted.layout_bytes;
  job.state = JobState::kDone;
  job.ended_at = now_;
  --active_;
  job.outcome = outcome;
  job.outcome.run = job.run;
  job.outcome.result_bytes = job.result_appended;
  timers_.emplace(now_ + options_.retention, job.id);
}

}  // namespace pa
