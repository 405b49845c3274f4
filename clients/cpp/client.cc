#include "clients/cpp/client.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <map>
#include <random>
#include <utility>

#include "shared/io/endpoints.h"

namespace pa {
namespace {

using std::chrono::milliseconds;

constexpr Duration kStuckWait = milliseconds{2};  ///< Between two tries to send.
constexpr Duration kLongestWait = std::chrono::seconds{1};
constexpr Duration kAskAgain = std::chrono::seconds{1};

bool concerns(const Message& message, const RequestId& request) {
  return std::visit(
      [&](const auto& m) {
        if constexpr (requires { m.stream; }) {
          return m.stream.request == request;
        } else if constexpr (requires {
                               { m.request } -> std::convertible_to<RequestId>;
                             }) {
          return m.request == request;
        } else {
          return false;
        }
      },
      message);
}

}  // namespace

RequestId make_request_id() {
  std::random_device random;
  const auto word = [&] { return (std::uint64_t{random()} << 32) | random(); };
  return {word(), word()};
}

Client::Client(std::unique_ptr<ClientTransport> transport, Pollable& source, std::string endpoint,
               ClientOptions options)
    : transport_(std::move(transport)),
      memory_(*transport_),
      endpoint_(std::move(endpoint)),
      options_(std::move(options)),
      streams_(StreamOptions{.window_bytes = options_.window_bytes}) {
  loop_.watch(source);
}

Client::~Client() = default;

Status Client::flush() {
  Status first;
  while (!outbox_.empty()) {
    const Outgoing& next = outbox_.front();
    const Status sent = transport_->send(next.message, next.payload);
    if (!sent.ok() && sent.error().code == Code::kOverloaded) break;
    if (!sent.ok() && first.ok()) first = sent;
    outbox_.pop_front();
  }
  return first;
}

void Client::wait(TimePoint until) {
  const TimePoint now = loop_.now();
  loop_.wait(std::min(until, now + (outbox_.empty() ? kLongestWait : kStuckWait)));
}

void Client::receive_all(const Handler& handler) {
  while (std::optional<Incoming> incoming = transport_->receive()) handler(*incoming, loop_.now());
}

Result<Outcome> Client::run(Submission submission, JobCallbacks callbacks,
                            const std::function<bool()>& cancelled) {
  const RequestId id = submission.id;
  JobOptions options;
  options.endpoint = endpoint_;
  options.first_answer = options_.first_answer;
  options.patience = options_.patience;
  options.window_bytes = options_.window_bytes;
  options.memory = &memory_;
  const BufferId first{next_buffer_};
  next_buffer_ += submission.tensors.size() + 1;
  ClientJob job(streams_, first, std::move(submission), std::move(options), std::move(callbacks));

  std::vector<Outgoing> out;
  std::vector<StreamEvent> events;
  const auto turn = [&] {
    const bool stop = cancelled && cancelled();  // Asked after a cancel, too: it may lose patience.
    if (stop && !job.cancelling()) job.cancel(loop_.now(), out);
    job.tick(loop_.now(), out);
    streams_.pump(loop_.now(), out, events);
    for (const StreamEvent& event : events) job.on(event, loop_.now());
    events.clear();
    if (job.take_reconnect()) {
      outbox_.clear();
      (void)transport_->reconnect();
    }
    std::move(out.begin(), out.end(), std::back_inserter(outbox_));
    out.clear();
    return flush();
  };
  for (;;) {
    if (const Status sent = turn(); !sent.ok() && !job.end()) return sent.error();
    if (job.end()) return *job.end();
    wait(std::min(job.next_deadline().value_or(TimePoint::max()),
                  streams_.next_deadline().value_or(TimePoint::max())));
    receive_all([&](Incoming& incoming, TimePoint at) {
      if (!concerns(incoming.message, id)) return;
      if (const auto* put = std::get_if<Put>(&incoming.message)) {
        streams_.on(incoming.peer, *put, incoming.payload.bytes(), at);
      } else if (const auto* got = std::get_if<Got>(&incoming.message)) {
        streams_.on(incoming.peer, *got, at);
      } else if (const auto* want = std::get_if<Want>(&incoming.message)) {
        streams_.on(incoming.peer, *want, at);
      }
      job.on(incoming.message, at, out);
    });
  }
}

void Client::acknowledge(const RequestId& request) {
  outbox_.push_back({PeerId{0}, DoneAck{request}, {}});
  memory_.acknowledged(request);
  (void)flush();
}

void Client::settle(Duration limit) { (void)status(limit); }

Result<Accepted> Client::plan(Submission submission) {
  submission.plan_only = true;
  PA_ASSIGN(Outcome outcome, run(std::move(submission), {}));
  return std::move(outcome.accepted);
}

Status Client::ask(const Message& question, Duration limit, const Answer& answered) {
  const TimePoint end = loop_.now() + limit;
  TimePoint due = loop_.now();
  bool done = false;
  while (!done) {
    if (loop_.now() >= end) {
      return unavailable("no answer from the coordinator at " + endpoint_ + " in " +
                         std::to_string(std::chrono::round<std::chrono::seconds>(limit).count()) +
                         " s; is it running" +
                         (is_tcp(endpoint_) ? ", and does it allow this key?" : "?"));
    }
    if (loop_.now() >= due) {
      if (outbox_.empty()) outbox_.push_back({PeerId{0}, question, {}});
      due = loop_.now() + kAskAgain;
    }
    PA_TRY(flush());
    wait(std::min(end, due));
    receive_all([&](Incoming& incoming, TimePoint) { done = done || answered(incoming.message); });
  }
  return {};
}

Result<ClusterStatus> Client::status(Duration limit) {
  const std::uint64_t tag = next_tag_++;
  std::map<std::uint64_t, ClusterStatus> parts;
  std::uint64_t wanted = 0;  // Not known yet.
  PA_TRY(ask(StatusQuery{tag}, limit, [&](Message& message) {
    auto* status = std::get_if<ClusterStatus>(&message);
    if (status == nullptr || status->tag != tag) return false;
    if (!status->more) wanted = status->part + 1;
    parts.insert_or_assign(status->part, std::move(*status));
    return parts.size() == wanted;
  }));
  ClusterStatus answer = std::move(parts.at(0));
  for (auto part = std::next(parts.begin()); part != parts.end(); ++part) {
    std::ranges::move(part->second.workers, std::back_inserter(answer.workers));
    std::ranges::move(part->second.requests, std::back_inserter(answer.requests));
  }
  answer.more = false;
  return answer;
}

Status Client::cancel(const RequestId& request, Duration limit) {
  Status answer;
  PA_TRY(ask(Cancel{request}, limit, [&](Message& message) {
    if (!concerns(message, request)) return false;
    if (const auto* refused = std::get_if<Refused>(&message)) answer = refused->error;
    return std::holds_alternative<Refused>(message) || std::holds_alternative<Done>(message);
  }));
  return answer;
}

}  // namespace pa
