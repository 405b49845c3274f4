#pragma once

#include <cstdint>
#include <string>
#include <variant>

#include "shared/core/request.h"
#include "shared/core/result.h"
#include "shared/wire/blobs.h"
#include "shared/wire/messages.h"
#include "shared/wire/streams.h"
#include "worker/core/shard_job.h"

namespace pa {

/// What the worker's core is told. See WorkerCore::step().
namespace worker_event {

/// The models are loaded and evaluated: join the cluster.
struct Ready {};
/// An Assign, with its body as the loop parsed it.
struct Assigned {
  Assign assign;
  Result<Request> body;
  bool inputs_here = false;           ///< In shared memory, checked.
  std::vector<bool> blobs_here = {};  ///< [tensors] Whether it is kept here; may be shorter.
};
/// Any other message of the coordinator.
struct FromCoordinator {
  Message message;
};
/// The engine's report.
struct Reported {
  EngineReport report;
  bool in_place = false;  ///< The rows that it tells of were written to shared memory.
};
/// What the device is like, now and then.
struct Measured {
  std::int64_t free_memory_bytes = -1;   ///< -1 unknown.
  bool loading = false;                  ///< It reads files; that counts for no pass.
  std::vector<LoadedModel> loaded = {};  ///< In its memory; empty: not known.
  bool computing = false;                ///< A pass runs, be it for shards that were revoked.
};
/// No memory could be had for a shard's inputs.
struct NoMemory {
  ShardId shard;
};
/// Take no more work, finish what is here, leave.
struct Drain {};
/// Time passed.
struct Tick {};

}  // namespace worker_event

using WorkerEvent =
    std::variant<worker_event::Ready, worker_event::Assigned, worker_event::FromCoordinator,
                 StreamArrived, StreamSent, StreamBroken, StreamUnwritable, worker_event::Reported,
                 worker_event::Measured, worker_event::NoMemory, worker_event::Drain,
                 worker_event::Tick>;

/// What the core wants done, in order. Streams lead to the coordinator's data connection.
namespace worker_action {

struct SendControl {
  Message message;
};
struct SendData {
  Message message;
};
/// Drop both connections and make fresh ones.
struct Reconnect {};
struct Allocate {
  BufferId buffer;
  std::uint64_t bytes = 0;
  ShardId shard;  ///< Whom NoMemory concerns.
};
struct Adopt {
  BufferId buffer;
  Buffer memory;
};
struct Release {
  BufferId buffer;
};
/// Expects the whole stream; with `ask`, only after it was asked for.
struct Receive {
  StreamId stream;
  BufferId buffer;
  std::uint64_t total = 0;
  bool ask = false;
  std::vector<Range> have = {};  ///< Of the stream, that is in the buffer already.
};
/// Copy the tensor that is kept here, as the Assigned event said, to its place.
struct FillIn {
  std::size_t tensor = 0;
  BufferId buffer;
  std::uint64_t offset = 0;
};
/// The buffer holds these blobs, for later shards.
struct KeepBlobs {
  BufferId buffer;
  Blobs blobs;
};
struct StartSending {
  StreamId stream;
  std::uint64_t window = 0;
};
struct Append {
  StreamId stream;
  Piece piece;
  bool last = false;
};
struct Close {
  StreamId stream;
};
/// Hand the shard to the engine; `inputs` is the memory of `job.inputs`, or 0 if it has none or they
/// are in shared memory.
struct Run {
  ShardJob job;
  BufferId inputs;
};
/// Nothing of the shard's shared memory is needed any more.
struct Unshare {
  ShardId shard;
};
struct Cancel {
  ShardId shard;
};
/// Read the files of this model ahead, if there is memory for them.
struct Prefetch {
  std::string model;
};
/// Let the sample leave its shard at its next step: SampleLeft, unless it ends before.
struct Leave {
  ShardId shard;
  std::int64_t sample = 0;
};
/// Say where the sample stands after its next step: SampleSaved, unless it ends before.
struct Save {
  ShardId shard;
  std::int64_t sample = 0;
};
/// The process may end with this status.
struct Exit {
  int status = 0;
  std::string reason;
};

}  // namespace worker_action

/// What happened, for logs and metrics. Performing them changes nothing.
namespace worker_note {

struct Connected {
  WorkerId worker;
  std::uint64_t epoch = 0;
};
struct Disconnected {
  std::string reason;
};
struct ShardStarted {
  RequestId request;
  ShardId shard;
  std::int64_t samples = 0;
};
struct SamplesFinished {
  RequestId request;
  ShardId shard;
  std::int64_t samples = 0;
  std::int64_t failed = 0;
  std::string error;  ///< Of the first that failed.
};
struct ShardDropped {
  ShardId shard;
  std::string reason;
};
struct Refused {
  Error error;
};
/// The coordinator answered a heartbeat, so long after it was sent.
struct BeatAnswered {
  Duration round_trip{};
};

}  // namespace worker_note

using WorkerNote =
    std::variant<worker_note::Connected, worker_note::Disconnected, worker_note::ShardStarted,
                 worker_note::SamplesFinished, worker_note::ShardDropped, worker_note::Refused,
                 worker_note::BeatAnswered>;

using WorkerAction =
    std::variant<worker_action::SendControl, worker_action::SendData, worker_action::Reconnect,
                 worker_action::Allocate, worker_action::Adopt, worker_action::Release,
                 worker_action::Receive, worker_action::StartSending, worker_action::Append,
                 worker_action::Close, worker_action::Run, worker_action::Cancel,
                 worker_action::Leave, worker_action::Save, worker_action::Unshare,
                 worker_action::Prefetch, worker_action::FillIn, worker_action::KeepBlobs,
                 worker_action::Exit, WorkerNote>;

}  // namespace pa
