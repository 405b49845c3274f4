#include "clients/cpp/client_job.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "shared/io/digest.h"
#include "shared/io/endpoints.h"

namespace pa {
namespace {

/// A client has one connection, so one peer.
constexpr PeerId kCoordinator{0};

constexpr Duration kCancelResend = std::chrono::seconds{1};

Outgoing to_coordinator(Message message) { return {kCoordinator, std::move(message), {}}; }

std::string seconds_text(Duration duration) {
  return std::to_string(std::chrono::round<std::chrono::seconds>(duration).count()) + " s";
}

}  // namespace

ClientJob::ClientJob(Streams& streams, BufferId first_buffer, Submission submission,
                     JobOptions options, JobCallbacks callbacks)
    : streams_(streams),
      first_buffer_(first_buffer),
      submission_(std::move(submission)),
      options_(std::move(options)),
      callbacks_(std::move(callbacks)),
      resend_(options_.first_resend) {}

ClientJob::~ClientJob() {
  streams_.close(input_stream());
  streams_.close(result_stream());
  for (std::uint64_t i = 0; i <= submission_.tensors.size(); ++i) {
    streams_.release(BufferId{first_buffer_.value + i});
  }
}

StreamId ClientJob::input_stream() const {
  return {StreamKind::kRequestInput, submission_.id, ShardId{}};
}

StreamId ClientJob::result_stream() const {
  return {StreamKind::kRequestResult, submission_.id, ShardId{accepted_ ? accepted_->run : 0}};
}

void ClientJob::start(TimePoint now, std::vector<Outgoing>& out) {
  started_ = now;
  submit_.request = submission_.id;
  submit_.body = submission_.body;
  submit_.plan_only = submission_.plan_only;
  submit_.window = options_.window_bytes;
  std::vector<TensorSpec> specs;
  std::uint64_t total = 0;
  for (const InputTensor& tensor : submission_.tensors) {
    const Result<std::uint64_t> bytes = byte_size(tensor.spec);
    if (!bytes.ok()) return finish(bytes.error());
    if (*bytes != tensor.bytes.size()) {
      return finish(invalid("tensor '" + tensor.spec.name + "' of shape " +
                            to_string(tensor.spec.shape) + " needs " + std::to_string(*bytes) +
                            " bytes and has " + std::to_string(tensor.bytes.size())));
    }
    total += *bytes;
    specs.push_back(tensor.spec);
    submit_.tensors.push_back({tensor.spec, {}});
  }
  const Result<InputLayout> layout = input_layout(specs);
  if (!layout.ok()) return finish(layout.error());
  const bool by_memory = !submission_.plan_only && total >= kShareFromBytes;
  if (!by_memory || !share_inputs(*layout)) {
    for (std::size_t i = 0; i < submit_.tensors.size(); ++i)
      submit_.tensors[i].digest = digest_of(submission_.tensors[i].bytes.bytes());
  }
  if (!submission_.plan_only) offer_memory();
  send_submit(now, out);
  if (submission_.plan_only || total == 0) return;

  // Little goes along unasked and spares a round trip; the coordinator asks for much, and for what it
  // was given in shared memory and cannot have that way.
  eager_ = total <= kEagerBytes && submit_.segment == 0;
  streams_.send(input_stream(), kCoordinator, eager_ ? kEagerBytes : 0, 0, now);
  std::uint64_t left = total;
  for (std::size_t i = 0; i < submission_.tensors.size(); ++i) {
    const Buffer& bytes = submission_.tensors[i].bytes;
    if (bytes.empty()) continue;
    const BufferId id{first_buffer_.value + i};
    streams_.adopt(id, bytes);
    left -= bytes.size();
    streams_.append(input_stream(), {id, 0, bytes.size(), layout->offsets[i]}, left == 0);
  }
}

/// Returns false if they are to be sent.
bool ClientJob::share_inputs(const InputLayout& layout) {
  if (options_.memory == nullptr || options_.memory->token() == 0) return false;
  std::vector<ClientMemory::Part> parts;
  for (std::size_t i = 0; i < submission_.tensors.size(); ++i) {
    parts.push_back({submission_.tensors[i].bytes, layout.offsets[i]});
  }
  std::optional<ClientMemory::Placed> placed = options_.memory->place(layout.total, parts);
  if (!placed) return false;
  for (std::size_t i = 0; i < parts.size(); ++i) submit_.tensors[i].digest = placed->digests[i];
  inputs_ = std::move(placed->memory);
  submit_.segment = first_buffer_.value;
  return true;
}

/// For the result, if there is an idea of how large it may be.
void ClientJob::offer_memory() {
  if (options_.memory == nullptr || options_.memory->token() == 0) return;
  if (!callbacks_.on_shared_result) return;
  const std::uint64_t id = first_buffer_.value + submission_.tensors.size();
  offered_ = options_.memory->offer_result(id);
  if (offered_.segment) submit_.result_segment = id;
}

void ClientJob::send_submit(TimePoint now, std::vector<Outgoing>& out) {
  if (options_.memory != nullptr) submit_.sharing = options_.memory->token();
  // If it does not arrive, the coordinator asks for the bytes.
  if (inputs_.segment) (void)options_.memory->hand_over(submit_.segment, inputs_.segment);
  submit_.result_from = arrived_;
  submit_.result_run = accepted_ ? accepted_->run : 0;
  out.push_back(to_coordinator(submit_));
  // Only once: an earlier life of the coordinator may have had it, and a worker of that may write.
  submit_.result_segment = 0;
  next_submit_ = now + resend_;
  resend_ = std::min(2 * resend_, options_.last_resend);
  ++unanswered_;
}

void ClientJob::heard(TimePoint now) {
  last_heard_ = now;
  next_submit_ = std::max(next_submit_, now + options_.first_resend);
  unanswered_ = 0;
  if (noticed_ && callbacks_.on_notice) callbacks_.on_notice("the coordinator is back");
  noticed_ = false;
}

void ClientJob::on(const Message& message, TimePoint now, std::vector<Outgoing>& out) {
  if (end_) return;
  heard(now);
  if (const auto* accepted = std::get_if<Accepted>(&message)) {
    on_accepted(*accepted, now, out);
  } else if (const auto* progress = std::get_if<RequestProgress>(&message)) {
    if (progress->steps != steps_)
      resend_ = options_.first_resend;  // It runs: silence would be news.
    steps_ = progress->steps;
    if (callbacks_.on_progress) callbacks_.on_progress(*progress);
  } else if (const auto* preview = std::get_if<SamplePreview>(&message)) {
    if (callbacks_.on_preview) callbacks_.on_preview(*preview);
  } else if (const auto* done = std::get_if<Done>(&message)) {
    on_done(*done, now, out);
  } else if (const auto* refused = std::get_if<Refused>(&message)) {
    on_refused(*refused, now);
  }
}

void ClientJob::on_refused(const Refused& refused, TimePoint now) {
  if (cancelled_) return finish(Error{Code::kCancelled, "cancelled", {}});
  const Duration retry_after = from_seconds(refused.retry_after_seconds);
  if (accepted_ && refused.retry_after_seconds > 0) {
    // A coordinator that has just begun knows neither the request nor, yet, its workers.
    if (!refused_ && callbacks_.on_notice) {
      callbacks_.on_notice("the coordinator has forgotten the request and does not take it yet (" +
                           refused.error.message + "); trying again");
    }
    refused_ = true;
    resend_ = options_.first_resend;
    next_submit_ = now + std::max(retry_after, options_.first_resend);
    return;
  }
  Error error = refused.error;
  if (error.code == Code::kOverloaded && refused.retry_after_seconds > 0) {
    error.message += "; try again in " + seconds_text(retry_after);
  }
  finish(std::move(error));
}

void ClientJob::on_accepted(const Accepted& accepted, TimePoint now, std::vector<Outgoing>& out) {
  if (submission_.plan_only) return finish(Outcome{accepted, {}});
  const BufferId buffer{first_buffer_.value + submission_.tensors.size()};
  if (!accepted_) {
    const Result<std::uint64_t> bytes = byte_size(accepted.result);
    Result<Buffer> place = bytes.ok() ? place_for(accepted, *bytes) : bytes.error();
    if (place.ok() && place->size() != *bytes) {
      place = internal("the place for the result has " + std::to_string(place->size()) +
                       " bytes and must have " + std::to_string(*bytes));
    }
    if (!place.ok()) {
      out.push_back(to_coordinator(Cancel{submission_.id}));
      return finish(place.error());
    }
    result_bytes_ = *bytes;
    place_ = *place;
    streams_.adopt(buffer, place_);
  } else if (accepted_->run == accepted.run) {
    accepted_ = accepted;  // The plan may be another by now.
    return;
  } else {
    if (accepted.result != accepted_->result) {
      return finish(
          internal("the coordinator came back and now promises a result of another shape"));
    }
    if (callbacks_.on_notice) callbacks_.on_notice("the coordinator has begun the request anew");
    streams_.close(result_stream());
    arrived_ = 0;
    done_.reset();
    in_offered_ = false;
    take_segment(accepted, result_bytes_);
  }
  accepted_ = accepted;
  refused_ = false;
  // What was promised in shared memory and did not come is asked for.
  const bool ask = done_.has_value() || accepted.segment != 0 || accepted.in_your_memory;
  if (!shared_result_) {
    streams_.receive(result_stream(), kCoordinator, buffer, result_bytes_, ask, now);
  }
  check_complete(now);
}

void ClientJob::on_done(const Done& done, TimePoint now, std::vector<Outgoing>& out) {
  if (done.failed) {
    out.push_back(to_coordinator(DoneAck{submission_.id}));
    return finish(done.error);
  }
  if (!accepted_ || accepted_->run != done.run) {
    // Accepted was lost, or comes later, and with it where the result is: ask again.
    next_submit_ = now;
    return;
  }
  done_ = done;
  check_complete(now);
}

void ClientJob::on(const StreamEvent& event, TimePoint now) {
  const auto* arrived = std::get_if<StreamArrived>(&event);
  if (end_ || arrived == nullptr || arrived->stream != result_stream()) return;
  arrived_ = arrived->upto;
  resend_ = options_.first_resend;
  check_complete(now);
}

void ClientJob::check_complete(TimePoint now) {
  if (!accepted_ || !done_) return;
  const std::uint64_t whole = stream_bytes();
  if (whole > result_bytes_) {
    return finish(internal("the coordinator sent more of a result than it promised"));
  }
  if (shared_result_) return take_result();
  if (arrived_ >= whole) return deliver();
  streams_.expect(result_stream(), whole, now);
}

/// Of the whole result stream. Done may have been sent while the coordinator still thought that the
/// result had come in shared memory; what did not fail is sent if it is asked for.
std::uint64_t ClientJob::stream_bytes() const {
  const Result<std::uint64_t> row = row_bytes(accepted_->result);
  const auto good = std::count_if(done_->samples.begin(), done_->samples.end(),
                                  [](const SampleReport& report) { return !report.failed; });
  return std::max(done_->result_bytes, row.ok() ? static_cast<std::uint64_t>(good) * *row : 0);
}

void ClientJob::take_segment(const Accepted& accepted, std::uint64_t bytes) {
  shared_result_ = {};
  if (options_.memory == nullptr) return;
  if (accepted.segment != 0) {
    shared_result_ = options_.memory->handed(accepted.segment, bytes);
  } else if (accepted.in_your_memory && !accepted_ && offered_.segment &&
             offered_.segment.bytes() >= bytes) {
    shared_result_ = offered_.segment;
    in_offered_ = true;
  }
}

Result<Buffer> ClientJob::place_for(const Accepted& accepted, std::uint64_t bytes) {
  take_segment(accepted, bytes);
  if (shared_result_ && callbacks_.on_shared_result) {
    Result<Buffer> map = shared_result_.map();
    in_ours_ = map.ok();
    if (map.ok()) return map->slice(0, bytes);
  }
  return callbacks_.on_accepted(accepted);
}

/// The result, in shared memory, becomes `place_`.
Status ClientJob::map_result() {
  // What might still change is copied, so that what is checked is what is delivered.
  if (!in_ours_ || done_->late_writers) return shared_result_.read(0, place_.bytes());
  // It may be in another segment than the one promised first.
  Buffer map = in_offered_ ? offered_.map : Buffer{};
  if (map.empty()) {
    PA_ASSIGN(map, shared_result_.map_shared(Segment::Access::kRead));
    Segment::prefault(map.slice(0, result_bytes_).bytes());
  }
  if (in_offered_) offered_.map = map;
  place_ = map.slice(0, result_bytes_);
  read_only_ = true;
  return {};
}

/// The result is whole, in shared memory.
void ClientJob::take_result() {
  if (const Status mapped = map_result(); !mapped.ok()) return finish(mapped.error());
  if (inputs_.segment) options_.memory->reuse(std::exchange(inputs_, {}));
  deliver();
}

/// It must be what its device gave, whichever way it came; one that failed has no bytes but zeros.
Status ClientJob::check_row(const SampleReport& report, std::uint64_t bytes) {
  const auto sample = static_cast<std::uint64_t>(report.sample);
  if (bytes == 0 || sample >= place_.size() / bytes) {  // A negative one is past the end, too.
    return internal("the coordinator reports a sample " + std::to_string(report.sample) +
                    ", which the result does not have");
  }
  const std::span<std::byte> row = place_.slice(sample * bytes, bytes).bytes();
  if (report.failed && read_only_) {
    return shared_result_.write(sample * bytes, std::vector<std::byte>(bytes));
  }
  if (report.failed) {
    std::fill(row.begin(), row.end(), std::byte{0});
  } else if (report.digest != Digest{} && digest_of(row) != report.digest) {
    return internal("sample " + std::to_string(report.sample) + ", made by " + report.worker +
                    ", was damaged on its way here; run the request again");
  }
  return {};
}

Status ClientJob::check_rows() {
  PA_ASSIGN(const std::uint64_t bytes, row_bytes(accepted_->result));
  for (const SampleReport& report : done_->samples) PA_TRY(check_row(report, bytes));
  return {};
}

void ClientJob::deliver() {
  if (const Status right = check_rows(); !right.ok()) return finish(right.error());
  if (options_.memory != nullptr)
    options_.memory->expect_result(result_bytes_ < kShareFromBytes ? 0 : result_bytes_);
  if (in_offered_ && read_only_) {
    place_ = {};
    place_ = options_.memory->lend(submission_.id, std::move(offered_)).slice(0, result_bytes_);
  }
  if (in_ours_) callbacks_.on_shared_result(*accepted_, std::exchange(place_, {}));
  finish(Outcome{*accepted_, *done_});
}

void ClientJob::finish(Result<Outcome> end) {
  if (!end_) end_.emplace(std::move(end));
}

void ClientJob::tick(TimePoint now, std::vector<Outgoing>& out) {
  if (end_) return;
  if (!started_) return start(now, out);
  if (cancelled_) {
    if (now - *cancelled_ >= options_.cancel_limit) {
      return finish(Error{Code::kCancelled, "cancelled; the coordinator did not confirm it", {}});
    }
    if (now >= next_cancel_) cancel(now, out);
  }
  const Duration silence = now - last_heard_.value_or(*started_);
  if (!last_heard_ && silence >= options_.first_answer) {
    return finish(unavailable("no answer from the coordinator at " + options_.endpoint + " in " +
                              seconds_text(silence) + "; is it running" +
                              (is_tcp(options_.endpoint) ? ", and does it allow this key?" : "?")));
  }
  if (last_heard_ && options_.patience && silence >= *options_.patience) {
    return finish(unavailable("the coordinator at " + options_.endpoint + " has been silent for " +
                              seconds_text(silence)));
  }
  if (now < next_submit_) return;
  if (last_heard_ && unanswered_ > 0) {
    reconnect_ = true;
    if (!noticed_ && callbacks_.on_notice) {
      callbacks_.on_notice("no word from the coordinator at " + options_.endpoint + " for " +
                           seconds_text(silence) + "; trying again");
    }
    noticed_ = true;
  }
  send_submit(now, out);
  if ((reconnect_ || refused_) && eager_)
    streams_.send(input_stream(), kCoordinator, kEagerBytes, 0, now);
}

void ClientJob::cancel(TimePoint now, std::vector<Outgoing>& out) {
  if (end_) return;
  if (!cancelled_) cancelled_ = now;
  next_cancel_ = now + kCancelResend;
  out.push_back(to_coordinator(Cancel{submission_.id}));
  if (!last_heard_)
    finish(Error{Code::kCancelled, "cancelled before the coordinator answered", {}});
}

std::optional<TimePoint> ClientJob::next_deadline() const {
  if (end_) return std::nullopt;
  if (!started_) return TimePoint{};
  TimePoint next = next_submit_;
  if (!last_heard_) next = std::min(next, *started_ + options_.first_answer);
  if (last_heard_ && options_.patience) next = std::min(next, *last_heard_ + *options_.patience);
  if (cancelled_) next = std::min({next, next_cancel_, *cancelled_ + options_.cancel_limit});
  return next;
}

bool ClientJob::take_reconnect() { return std::exchange(reconnect_, false); }

void ClientJob::acknowledge(std::vector<Outgoing>& out) const {
  out.push_back(to_coordinator(DoneAck{submission_.id}));
  if (options_.memory != nullptr) options_.memory->acknowledged(submission_.id);
}

}  // namespace pa
