#include "coordinator/io/coordinator_node.h"

#include "shared/io/request_json.h"

namespace pa {
namespace {

/// Messages taken in one turn before streams get to send: enough to batch, few enough to keep bytes flowing.
constexpr int kMessagesPerTurn = 16;

event::Journaled::What what_of(JournalReport::What what) {
  switch (what) {
    case JournalReport::What::kRequest:
      return event::Journaled::What::kRequest;
    case JournalReport::What::kSamples:
      return event::Journaled::What::kSamples;
    case JournalReport::What::kOutcome:
      break;
  }
  return event::Journaled::What::kOutcome;
}

}  // namespace

CoordinatorNode::CoordinatorNode(const CoordinatorOptions& options, StreamOptions streams,
                                 ServerTransport& transport, Journal& journal, NoteSink notes)
    : core_(options),
      streams_(streams),
      transport_(transport),
      journal_(journal),
      notes_(std::move(notes)),
      blobs_(options.blob_bytes) {}

void CoordinatorNode::recover(TimePoint now, Recovery recovery) {
  now_ = now;
  feed(event::RecoveredEnded{std::move(recovery.ended)});
  for (RecoveredRequest& kept : recovery.requests) {
    Submit& submit = kept.request.submit;
    recovered_[submit.request] = {std::move(kept.request.input), std::move(kept.result)};
    Result<Request> body = parse_request(submit.body);
    feed(event::Recovered{std::move(submit), std::move(body), std::move(kept.request.model),
                          std::move(kept.samples), std::move(kept.outcome), kept.age});
  }
  settle();
}

bool CoordinatorNode::turn(TimePoint now) {
  now_ = now;
  while (const std::optional<PeerId> gone = transport_.gone()) feed(event::PeerGone{*gone});
  int taken = 0;
  while (taken < kMessagesPerTurn) {
    std::optional<Incoming> incoming = transport_.receive();
    if (!incoming) break;
    take(std::move(*incoming));
    ++taken;
  }
  if (const auto due = core_.next_deadline(); due && *due <= now_) feed(event::Tick{});
  settle();
  return taken == kMessagesPerTurn;
}

void CoordinatorNode::tell(const Event& event, TimePoint now) {
  now_ = now;
  feed(event);
  settle();
}

std::optional<TimePoint> CoordinatorNode::next_deadline() const {
  const std::optional<TimePoint> core = core_.next_deadline();
  const std::optional<TimePoint> streams = streams_.next_deadline();
  if (!core) return streams;
  return streams ? std::min(*core, *streams) : core;
}

void CoordinatorNode::take(Incoming&& incoming) {
  if (const auto* put = std::get_if<Put>(&incoming.message)) {
    streams_.on(incoming.peer, *put, incoming.payload.bytes(), now_);
  } else if (const auto* got = std::get_if<Got>(&incoming.message)) {
    streams_.on(incoming.peer, *got, now_);
  } else if (const auto* want = std::get_if<Want>(&incoming.message)) {
    if (streams_.sends(want->stream)) {
      streams_.on(incoming.peer, *want, now_);
    } else {
      feed(event::WantsBytes{incoming.peer, want->stream});
    }
  } else if (incoming.channel != Channel::kClient) {
    feed(event::FromWorker{incoming.peer, incoming.channel == Channel::kWorkerData,
                           std::move(incoming.message), std::move(incoming.who), incoming.shares});
  } else if (auto* submit = std::get_if<Submit>(&incoming.message)) {
    Result<Request> body = parse_request(submit->body);
    arrived_.reset();
    if (submit->segment != 0) arrived_ = transport_.shared(incoming.peer, submit->segment);
    const std::uint64_t bytes = arrived_ ? arrived_->bytes() : 0;
    arrived_result_.reset();
    if (submit->result_segment != 0)
      arrived_result_ = transport_.shared(incoming.peer, submit->result_segment);
    const std::uint64_t result_bytes =
        arrived_result_ && arrived_result_->is_writable() ? arrived_result_->bytes() : 0;
    std::vector<bool> blobs_here;
    if (!arrived_ && !submit->plan_only) blobs_here = find_blobs(*submit, incoming.who);
    feed(event::Submitted{incoming.peer, std::move(*submit), std::move(body),
                          std::move(incoming.who), incoming.shares, bytes, std::move(blobs_here),
                          result_bytes});
    arrived_.reset();
    arrived_result_.reset();
    found_.clear();
  } else {
    feed(event::FromClient{incoming.peer, std::move(incoming.message)});
  }
}

/// Which of the tensors are kept here; found_ has them then.
std::vector<bool> CoordinatorNode::find_blobs(const Submit& submit, const std::string& who) {
  std::vector<bool> here;
  found_.clear();
  for (const TensorEntry& tensor : submit.tensors) {
    const Result<std::uint64_t> bytes = byte_size(tensor.spec);
    found_.push_back(bytes.ok() ? blobs_.find(client_scope(who), tensor.digest, *bytes) : Buffer{});
    here.push_back(!found_.back().empty());
  }
  return here;
}

void CoordinatorNode::feed(const Event& event) {
  std::vector<Action> actions;
  core_.step(event, now_, actions);
  if (check_always_) core_.check_invariants();
  for (Action& action : actions) perform(action);
  while (!pending_.empty()) {
    const Event next = std::move(pending_.front());
    pending_.erase(pending_.begin());
    feed(next);
  }
}

void CoordinatorNode::perform(Action& action) {
  std::visit([this](auto& specific) { do_action(specific); }, action);
}

void CoordinatorNode::do_action(action::Send& action) {
  for (const BufferId buffer : action.share) {
    const auto found = segments_.find(buffer);
    // Whoever misses it asks for the bytes.
    if (found != segments_.end()) (void)transport_.share(action.peer, buffer.value, found->second);
  }
  send(action.peer, action.message);
}

/// Nothing of it is mapped, or copied, until a peer wants its bytes on a stream or sends some.
void CoordinatorNode::adopt(BufferId buffer, const Segment& segment, std::uint64_t bytes) {
  segments_[buffer] = segment;
  const auto map = [segment, bytes]() -> Buffer {
    const Result<Buffer> mapped = segment.map();
    return mapped.ok() ? mapped->slice(0, bytes) : Buffer{};
  };
  const auto write = [segment](std::uint64_t offset, std::span<const std::byte> source) {
    return segment.write(offset, source).ok();
  };
  streams_.adopt(buffer, LazyBuffer{bytes, map, write});
}

void CoordinatorNode::do_action(action::AdoptSegment& action) {
  const std::optional<Segment>& segment = action.result ? arrived_result_ : arrived_;
  PA_CHECK(segment.has_value());
  adopt(action.buffer, *segment, action.bytes);
}

void CoordinatorNode::do_action(action::FillIn& action) {
  if (!streams_.write(action.buffer, action.offset, found_.at(action.tensor).bytes()))
    pending_.emplace_back(event::NoMemory{action.request});
}

void CoordinatorNode::do_action(action::Copy& action) {
  if (!streams_.write(action.to, action.offset, streams_.buffer(action.from).bytes()))
    pending_.emplace_back(event::NoMemory{action.request});
}

void CoordinatorNode::do_action(action::Freeze& action) {
  const auto found = segments_.find(action.buffer);
  if (found == segments_.end()) return;
  // A worker that has it mapped keeps it from being frozen: the client is told that some may write.
  const Status frozen = found->second.freeze();
  const bool news = !frozen.ok() && frozen.error().code != Code::kUnavailable;
  if (news && notes_) notes_(note::ProtocolError{PeerId{0}, frozen.error().message});
}

void CoordinatorNode::do_action(action::Append& action) {
  if (!streams_.append(action.stream, action.piece, action.last)) {
    pending_.emplace_back(event::NoMemory{action.stream.request});
  }
}

void CoordinatorNode::do_action(action::Allocate& action) {
  if (action.shared && action.bytes > 0) {
    if (const Result<Segment> segment = Segment::create(action.bytes); segment.ok()) {
      return adopt(action.buffer, *segment, action.bytes);
    }
  }
  if (!streams_.allocate(action.buffer, action.bytes).ok())
    pending_.emplace_back(event::NoMemory{action.request});
}

void CoordinatorNode::do_action(action::JournalRequest& action) {
  journal_.write(JournalRequest{std::move(action.submit), std::move(action.model),
                                streams_.buffer(action.input)});
}

void CoordinatorNode::do_action(action::JournalSamples& action) {
  journal_.write(JournalSamples{action.request, action.row_bytes, std::move(action.reports),
                                streams_.buffer(action.result)});
}

void CoordinatorNode::do_action(action::Restore& action) {
  auto& [input, result] = recovered_.at(action.request);
  streams_.adopt(action.input, std::move(input));
  if (result.size() == action.result_bytes) {
    streams_.adopt(action.result, std::move(result));
  } else if (!streams_.allocate(action.result, action.result_bytes).ok()) {
    pending_.emplace_back(event::NoMemory{action.request});
  }
  recovered_.erase(action.request);
}

void CoordinatorNode::do_action(action::Receive& action) {
  streams_.receive(action.stream, action.peer, action.buffer, action.total, action.ask, now_,
                   std::move(action.places), std::move(action.have), action.base);
}

void CoordinatorNode::do_action(action::StartSending& action) {
  streams_.send(action.stream, action.peer, action.window, action.from, now_);
}

void CoordinatorNode::do_action(Note& note) {
  if (notes_) notes_(note);
}

void CoordinatorNode::send(PeerId peer, const Message& message) {
  const Status sent = transport_.send(peer, message, {});
  // A full queue loses the message: whoever needs it asks again. A gone peer is news.
  if (!sent.ok() && sent.error().code == Code::kUnavailable)
    pending_.emplace_back(event::PeerGone{peer});
}

void CoordinatorNode::settle() {
  while (true) {
    while (const std::optional<JournalReport> report = journal_.next())
      feed(event::Journaled{report->request, what_of(report->what), report->status});
    outgoing_.clear();
    stream_events_.clear();
    streams_.pump(now_, outgoing_, stream_events_);
    for (const Outgoing& out : outgoing_) {
      const Status sent = transport_.send(out.peer, out.message, out.payload);
      if (sent.ok()) continue;
      if (sent.error().code == Code::kUnavailable) {
        pending_.emplace_back(event::PeerGone{out.peer});
      } else {
        streams_.unsent(out, now_);
      }
    }
    for (const StreamEvent& event : stream_events_) {
      std::visit([this](const auto& specific) { feed(specific); }, event);
    }
    while (!pending_.empty()) {
      const Event next = std::move(pending_.front());
      pending_.erase(pending_.begin());
      feed(next);
    }
    if (outgoing_.empty() && stream_events_.empty()) return;
  }
}

}  // namespace pa
