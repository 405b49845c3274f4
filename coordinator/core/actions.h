#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "shared/core/id.h"
#include "shared/core/request.h"
#include "shared/core/result.h"
#include "shared/wire/blobs.h"
#include "shared/wire/messages.h"
#include "shared/wire/streams.h"

namespace pa {

/// What the coordinator's core is told. See Coordinator::step().
namespace event {

/// A Submit, with its body as the gateway parsed it.
struct Submitted {
  PeerId peer;
  Submit submit;
  Result<Request> body;
  std::string who = {};               ///< As in Incoming.
  bool shares = false;                ///< As in Incoming.
  std::uint64_t segment_bytes = 0;    ///< Of submit.segment; 0 if it did not come.
  std::vector<bool> blobs_here = {};  ///< [tensors] Whether it is kept here; may be shorter.
  std::uint64_t result_segment_bytes =
      0;  ///< Of submit.result_segment; 0 if it did not come or cannot be written to.
};
/// Any other message of a client: DoneAck, Cancel, StatusQuery.
struct FromClient {
  PeerId peer;
  Message message;
};
/// A message of a worker on its control or data connection.
struct FromWorker {
  PeerId peer;
  bool data = false;
  Message message;
  std::string who = {};  ///< As in Incoming: a pattern for the worker's name.
  bool shares = false;   ///< As in Incoming.
};
/// A peer asks for bytes on a stream that was not begun: it cannot have them in shared memory.
struct WantsBytes {
  PeerId peer;
  StreamId stream;
};
/// A message to this peer could not be handed over: its connection is gone for good.
struct PeerGone {
  PeerId peer;
};
/// What the journal was given last about the request is durable, or cannot be.
struct Journaled {
  enum class What : std::uint8_t { kRequest, kSamples, kOutcome };
  RequestId request;
  What what = What::kRequest;
  Status status;
};
/// A request that an earlier life of the coordinator left in its journal.
struct Recovered {
  Submit submit;
  Result<Request> body;
  ModelInfo model;                     ///< That it was admitted against.
  std::vector<SampleReport> finished;  ///< Samples whose rows were kept, and failed ones.
  std::optional<Done> outcome;         ///< If it had ended.
  Duration age{};                      ///< Since it was admitted.
};
/// Requests that an earlier life finished, the latest last.
struct RecoveredEnded {
  std::vector<RequestId> requests;
};
/// No memory could be had for the buffer of this request.
struct NoMemory {
  RequestId request;
};
/// The owner's weights by worker name, which override what workers say of themselves, and whether they decide alone.
struct WeightsChanged {
  std::map<std::string, double> weights;
  std::optional<Scheduling> scheduling = {};  ///< As CoordinatorOptions; absent: as it was.
};
/// Stop admitting; finish what runs until `grace` from now, then Exit.
struct Shutdown {
  Duration grace{};
};
/// Time passed.
struct Tick {};

}  // namespace event

using Event =
    std::variant<event::Submitted, event::FromClient, event::FromWorker, event::WantsBytes,
                 event::PeerGone, StreamArrived, StreamSent, StreamBroken, StreamUnwritable,
                 event::Journaled, event::Recovered, event::RecoveredEnded, event::NoMemory,
                 event::WeightsChanged, event::Shutdown, event::Tick>;

/// What the core wants done, in order. Those about buffers and streams are calls of Streams.
namespace action {

/// Buffers that can be shared go before the message, each under its BufferId's number. Whether they
/// arrive is the peer's to see: else it asks for the bytes.
struct Send {
  PeerId peer;
  Message message;
  std::vector<BufferId> share = {};
};
struct Allocate {
  BufferId buffer;
  std::uint64_t bytes = 0;
  RequestId request;    ///< Whom event::NoMemory concerns.
  bool shared = false;  ///< In memory that can be shared, if there is any.
};
/// The buffer is a segment that came with the Submitted event.
struct AdoptSegment {
  BufferId buffer;
  std::uint64_t bytes = 0;  ///< Of it, from its start on.
  bool result = false;      ///< Submit.result_segment; else Submit.segment.
};
/// Nobody writes to the buffer any more, if it was shared and no worker has it mapped.
struct Freeze {
  BufferId buffer;
};
struct Release {
  BufferId buffer;
};
struct Receive {
  StreamId stream;
  PeerId peer;
  BufferId buffer;
  std::uint64_t total = 0;
  bool ask = false;
  std::vector<Range> places = {};  ///< Of the buffer, that the peer may write to; empty: all.
  std::vector<Range> have = {};    ///< Of the stream, that is in the buffer already.
  std::uint64_t base = 0;          ///< The place that the peer names where the buffer begins.
};
/// Copy all of a buffer into another.
struct Copy {
  BufferId from;
  BufferId to;
  std::uint64_t offset = 0;  ///< In `to`.
  RequestId request;         ///< Whom event::NoMemory concerns.
};
/// Copy the tensor that is kept here, as the Submitted event said, to its place.
struct FillIn {
  std::size_t tensor = 0;
  BufferId buffer;
  std::uint64_t offset = 0;
  RequestId request;  ///< Whom event::NoMemory concerns.
};
/// The buffer holds these blobs, for later requests.
struct KeepBlobs {
  BufferId buffer;
  Blobs blobs;
};
struct Expect {
  StreamId stream;
  std::uint64_t upto = 0;
};
struct StartSending {
  StreamId stream;
  PeerId peer;
  std::uint64_t window = 0;
  std::uint64_t from = 0;
};
struct Append {
  StreamId stream;
  Piece piece;
  bool last = false;
};
struct Close {
  StreamId stream;
};
struct ForgetPeer {
  PeerId peer;
};
/// Make the request durable, then event::Journaled.
struct JournalRequest {
  Submit submit;
  ModelInfo model;
  BufferId input;
};
/// Likewise finished samples, whose rows lie in `result`.
struct JournalSamples {
  RequestId request;
  std::uint64_t row_bytes = 0;
  std::vector<SampleReport> reports;
  BufferId result;
};
/// Likewise how the request ended.
struct JournalOutcome {
  Done done;
};
/// The request is over and acknowledged.
struct JournalErase {
  RequestId request;
};
/// Give these names to the buffers that came with event::Recovered. BufferId{0}: not needed.
struct Restore {
  RequestId request;
  BufferId input;
  BufferId result;
  std::uint64_t result_bytes = 0;
};
/// The process may end.
struct Exit {};

}  // namespace action

/// What happened, for logs and metrics. Performing them changes nothing.
namespace note {

struct WorkerJoined {
  std::string worker, device, device_name, host;
  double weight = 0;
  std::vector<std::string> models;
};
struct WorkerState {
  std::string worker;
  std::string state;  ///< "live", "suspect", "draining" or "lost".
  std::string reason;
};
struct WorkerRefused {
  std::string worker;
  Error error;
};
struct RequestAccepted {
  RequestId request;
  std::string model;
  std::int64_t samples = 0;
  std::vector<PlanShare> plan;
};
struct RequestRefused {
  RequestId request;
  Error error;
};
struct RequestFinished {
  RequestId request;
  std::string outcome;  ///< "ok", or the name of the error's code.
  std::string error;
  std::int64_t samples = 0;
  double seconds = 0;
  double queue_seconds = 0;
};
struct ShardAssigned {
  RequestId request;
  ShardId shard;
  std::string worker;
  std::int64_t samples = 0;
  std::int64_t attempt = 1;
  std::uint64_t input_bytes = 0;
  bool shares = false;  ///< Inputs and results in shared memory, so that no byte is sent.
};
/// A worker goes on with samples that it had in an earlier session.
struct ShardKept {
  RequestId request;
  ShardId shard;
  std::string worker;
  std::int64_t samples = 0;
  std::int64_t steps = 0;  ///< That are not done again.
};
/// Samples of a shard go to others.
struct ShardLost {
  RequestId request;
  ShardId shard;
  std::string worker;
  std::int64_t samples = 0;
  std::string reason;
  std::int64_t saved_steps = 0;  ///< Of them, which checkpoints keep from being done again.
  std::int64_t lost_steps = 0;   ///< Of them, which are done again.
};
/// Where a running sample stands is kept here.
struct CheckpointTaken {
  std::string worker;
  std::uint64_t bytes = 0;
};
struct SamplesFinished {
  RequestId request;
  std::string worker;
  std::int64_t samples = 0;
  std::int64_t steps = 0;
  std::uint64_t result_bytes = 0;
};
/// The journal could not keep something: it is lost if the coordinator stops now.
struct JournalFailed {
  RequestId request;
  std::string what;  ///< "request", "samples" or "outcome".
  Error error;
};
/// A request of an earlier life goes on.
struct RequestRecovered {
  RequestId request;
  std::string model;
  std::int64_t samples = 0;
  std::int64_t finished = 0;
  bool ended = false;
};
/// A running sample goes to another worker, or back to the queue.
struct SampleMoved {
  RequestId request;
  std::int64_t sample = 0;
  std::string from;
  std::string to;  ///< Empty: the queue.
  std::int64_t steps = 0;
  double seconds = 0;  ///< From leaving to the arrival of its state.
};
/// A running sample is begun again on an idle worker too, since its own does not get on.
struct SampleHedged {
  RequestId request;
  std::int64_t sample = 0;
  std::string from;
  std::string to;
  std::int64_t steps = 0;        ///< That it had done.
  std::int64_t saved_steps = 0;  ///< Of them, which are not done again.
};
/// Workers kept being lost with a sample.
struct SampleGivenUp {
  RequestId request;
  std::int64_t sample = 0;
  std::string reason;
};
/// A device is far slower than it was believed to be.
struct DeviceSlow {
  std::string worker;
  double factor = 1;
};
/// A peer broke the protocol; the message was dropped.
struct ProtocolError {
  PeerId peer;
  std::string what;
};

}  // namespace note

using Note =
    std::variant<note::WorkerJoined, note::WorkerState, note::WorkerRefused, note::RequestAccepted,
                 note::RequestRefused, note::RequestFinished, note::ShardAssigned, note::ShardKept,
                 note::ShardLost, note::CheckpointTaken, note::SamplesFinished, note::JournalFailed,
                 note::RequestRecovered, note::SampleMoved, note::SampleHedged, note::SampleGivenUp,
                 note::DeviceSlow, note::ProtocolError>;

using Action =
    std::variant<action::Send, action::Allocate, action::AdoptSegment, action::Freeze,
                 action::Release, action::Receive, action::Expect, action::StartSending,
                 action::Append, action::Close, action::ForgetPeer, action::FillIn, action::Copy,
                 action::KeepBlobs, action::JournalRequest, action::JournalSamples,
                 action::JournalOutcome, action::JournalErase, action::Restore, action::Exit, Note>;

}  // namespace pa
