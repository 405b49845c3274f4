#include "worker/io/worker_node.h"

#include "shared/io/request_json.h"
#include "worker/io/shared_shard.h"

namespace pa {
namespace {

/// Messages taken from one connection in one turn before streams get to send.
constexpr int kMessagesPerTurn = 16;

/// Bytes of results written to shared memory in one turn: less than a millisecond.
constexpr std::uint64_t kPlacedPerTurn = 1u << 20;

}  // namespace

WorkerNode::WorkerNode(const WorkerOptions& options, StreamOptions streams,
                       ClientTransport& control, ClientTransport& data, ComputeLink& compute,
                       NoteSink notes)
    : core_(options),
      streams_(streams),
      control_(control),
      data_(data),
      compute_(compute),
      notes_(std::move(notes)),
      blobs_(options.hello.blob_bytes) {}

bool WorkerNode::turn(TimePoint now) {
  now_ = now;
  bool more = false;
  for (ClientTransport* transport : {&control_, &data_}) {
    int taken = 0;
    while (taken < kMessagesPerTurn) {
      std::optional<Incoming> incoming = transport->receive();
      if (!incoming) break;
      take(std::move(*incoming));
      ++taken;
    }
    more = more || taken == kMessagesPerTurn;
  }
  more = take_reports() || more;
  if (const auto due = core_.next_deadline(); due && *due <= now_) {
    feed(worker_event::Measured{compute_.free_memory_bytes(), compute_.is_loading(),
                                compute_.loaded(), compute_.is_computing()});
    feed(worker_event::Tick{});
    result_maps_.expire(now_);
  }
  settle();
  return more;
}

void WorkerNode::tell(const WorkerEvent& event, TimePoint now) {
  now_ = now;
  feed(event);
  settle();
}

std::optional<TimePoint> WorkerNode::next_deadline() const {
  const std::optional<TimePoint> core = core_.next_deadline();
  const std::optional<TimePoint> streams = streams_.next_deadline();
  if (!core) return streams;
  return streams ? std::min(*core, *streams) : core;
}

void WorkerNode::take(Incoming&& incoming) {
  constexpr PeerId kCoordinator{0};
  if (const auto* put = std::get_if<Put>(&incoming.message)) {
    streams_.on(kCoordinator, *put, incoming.payload.bytes(), now_);
  } else if (const auto* got = std::get_if<Got>(&incoming.message)) {
    streams_.on(kCoordinator, *got, now_);
  } else if (const auto* want = std::get_if<Want>(&incoming.message)) {
    streams_.on(kCoordinator, *want, now_);
  } else if (auto* assign = std::get_if<Assign>(&incoming.message)) {
    take_assign(std::move(*assign));
  } else {
    feed(worker_event::FromCoordinator{std::move(incoming.message)});
  }
}

void WorkerNode::take_assign(Assign&& assign) {
  Result<Request> body = parse_request(assign.body);
  Shared shared;
  if (assign.segment != 0) {
    // What is amiss with it is no matter: the bytes are asked for instead.
    const std::optional<Segment> segment = data_.shared(assign.segment);
    Result<Buffer> memory = segment ? segment->map() : invalid("did not come");
    if (memory.ok()) {
      Result<std::vector<std::vector<Buffer>>> inputs = find_inputs(assign, *memory);
      if (inputs.ok()) shared.inputs = std::move(*inputs);
    }
  }
  if (assign.result_segment != 0) {
    if (auto segment = data_.shared(assign.result_segment)) shared.result = std::move(*segment);
  }
  const bool inputs_here = !shared.inputs.empty();
  if ((inputs_here || shared.result) && !shared_.contains(assign.shard)) {
    shared.assign = assign;
    shared_.emplace(assign.shard, std::move(shared));
  }
  const ShardId shard = assign.shard;
  std::vector<bool> blobs_here = find_blobs(assign);
  feed(worker_event::Assigned{std::move(assign), std::move(body), inputs_here,
                              std::move(blobs_here)});
  found_.clear();
  if (!core_.holds(shard)) shared_.erase(shard);
}

/// Which of the tensors are kept here; found_ has them then.
std::vector<bool> WorkerNode::find_blobs(const Assign& assign) {
  std::vector<bool> here;
  found_.clear();
  for (std::size_t i = 0; i < std::min(assign.tensors.size(), assign.digests.size()); ++i) {
    const Result<std::uint64_t> bytes = byte_size(assign.tensors[i]);
    found_.push_back(bytes.ok() ? blobs_.find(assign.blob_scope, assign.digests[i], *bytes)
                                : Buffer{});
    here.push_back(!found_.back().empty());
  }
  return here;
}

/// Returns true if there is more to do at once.
bool WorkerNode::take_reports() {
  while (true) {
    if (placing_ && !go_on_placing()) return true;
    std::optional<EngineReport> report = compute_.poll();
    if (!report) return false;
    take_report(std::move(*report));
  }
}

/// Finished rows go to their places in shared memory, if there is some.
void WorkerNode::take_report(EngineReport&& report) {
  if (auto* rows = std::get_if<RowsFinished>(&report); rows && !rows->bytes.empty()) {
    const auto shared = shared_.find(rows->shard);
    if (shared != shared_.end() && shared->second.result) {
      const Segment& result = shared->second.result;
      auto placement = RowPlacement::begin(shared->second.assign, *rows, result,
                                           result_maps_.find(result, now_));
      if (placement.ok()) {
        placing_.emplace(Placing{std::move(*rows), std::move(*placement)});
        return;
      }
    }
  }
  feed(worker_event::Reported{std::move(report), false});
}

/// Places some more; returns whether that was the last of it. Rows that may not be placed any more
/// are sent.
bool WorkerNode::go_on_placing() {
  const bool may = shared_.contains(placing_->rows.shard) && core_.may_write(now_);
  bool in_place = false;
  if (may) {
    const Result<bool> whole = placing_->placement.place(kPlacedPerTurn);
    if (whole.ok() && !*whole) return false;
    in_place = whole.ok();
  }
  RowsFinished rows = std::move(placing_->rows);
  placing_.reset();
  feed(worker_event::Reported{std::move(rows), in_place});
  return true;
}

void WorkerNode::feed(const WorkerEvent& event) {
  std::vector<WorkerAction> actions;
  core_.step(event, now_, actions);
  if (check_always_) core_.check_invariants();
  for (WorkerAction& action : actions) {
    std::visit([this](auto& specific) { do_action(specific); }, action);
  }
  while (!pending_.empty()) {
    const WorkerEvent next = std::move(pending_.front());
    pending_.erase(pending_.begin());
    feed(next);
  }
}

void WorkerNode::do_action(worker_action::SendControl& action) {
  // A message that cannot be handed over is lost; the session's timers make up for it. But for one
  // that never can: a Hello with more models than fit a message.
  const Status sent = control_.send(action.message, {});
  if (!sent.ok() && sent.error().code == Code::kInvalid && notes_) {
    notes_(worker_note::Refused{sent.error()});
  }
}

void WorkerNode::do_action(worker_action::SendData& action) {
  if (auto* attach = std::get_if<Attach>(&action.message)) attach->sharing = data_.sharing();
  (void)data_.send(action.message, {}).ok();
}

void WorkerNode::do_action(worker_action::Reconnect&) {
  for (ClientTransport* transport : {&control_, &data_}) {
    if (Status fresh = transport->reconnect(); !fresh.ok() && notes_) {
      notes_(worker_note::Disconnected{fresh.error().message});
    }
  }
}

void WorkerNode::do_action(worker_action::Allocate& action) {
  if (!streams_.allocate(action.buffer, action.bytes).ok())
    pending_.emplace_back(worker_event::NoMemory{action.shard});
}

void WorkerNode::do_action(worker_action::Receive& action) {
  streams_.receive(action.stream, PeerId{0}, action.buffer, action.total, action.ask, now_, {},
                   std::move(action.have));
  streams_.expect(action.stream, action.total, now_);
}

void WorkerNode::do_action(worker_action::StartSending& action) {
  streams_.send(action.stream, PeerId{0}, action.window, 0, now_);
}

void WorkerNode::do_action(worker_action::Run& action) {
  if (action.inputs.value != 0) {
    action.job.inputs = streams_.buffer(action.inputs);
  } else if (const auto shared = shared_.find(action.job.shard); shared != shared_.end()) {
    action.job.pieces = std::move(shared->second.inputs);
  }
  compute_.run(std::move(action.job));
}

void WorkerNode::do_action(WorkerNote& note) {
  if (notes_) notes_(note);
}

void WorkerNode::settle() {
  while (true) {
    outgoing_.clear();
    stream_events_.clear();
    streams_.pump(now_, outgoing_, stream_events_);
    for (const Outgoing& out : outgoing_) {
      if (!data_.send(out.message, out.payload).ok()) streams_.unsent(out, now_);
    }
    for (const StreamEvent& event : stream_events_) {
      std::visit([this](const auto& specific) { feed(specific); }, event);
    }
    if (outgoing_.empty() && stream_events_.empty()) return;
  }
}

}  // namespace pa
