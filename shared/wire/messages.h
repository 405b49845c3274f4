#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "shared/core/id.h"
#include "shared/core/model_info.h"
#include "shared/core/result.h"
#include "shared/core/tensor_spec.h"
#include "shared/core/time.h"

/// Every message of the protocol, one struct each. docs/protocol.md tells who sends what when; codec.h how they look on
/// the wire. Plain values: cores use them too.
namespace pa {

/// Version of this protocol. Hello and Submit carry it; this one and the one before are spoken.
inline constexpr std::uint32_t kProtocolVersion = 1;

/// Bytes a client may send after Submit before it has seen Want.
inline constexpr std::uint64_t kEagerBytes = 1u << 20;

/// Bytes from which on inputs and results between processes of one box are shared rather than sent.
inline constexpr std::uint64_t kShareFromBytes = 64u << 10;

/// XXH3-128 of a tensor's bytes; all zero: not given.
struct Digest {
  std::uint64_t high = 0;
  std::uint64_t low = 0;
  friend auto operator<=>(const Digest&, const Digest&) = default;
};

// ------------------------------------------------------------------------------------------------------------- streams

/// Which bytes a Put belongs to.
enum class StreamKind : std::uint8_t {
  kRequestInput,   ///< client -> coordinator: the request's tensors.
  kRequestResult,  ///< coordinator -> client: finished samples.
  kShardInput,     ///< coordinator -> worker: the shard's tensors.
  kShardResult,    ///< worker -> coordinator: finished samples of the shard.
  kCheckpoint,  ///< worker -> coordinator: where a sample stands that leaves the worker, or is saved.
};

struct StreamId {
  StreamKind kind = StreamKind::kRequestInput;
  RequestId request;
  ShardId
      shard;  ///< kRequestInput: 0; kRequestResult: Accepted.run; kCheckpoint: Yield.move or Save.save.
  friend auto operator<=>(const StreamId&, const StreamId&) = default;
};

/// Bytes of a buffer, or of a stream.
struct Range {
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  friend bool operator==(const Range&, const Range&) = default;
};

/// Receiver -> sender: everything below `from` has arrived; go on with at most `window` bytes under way. With `again`,
/// what was sent from `from` on is lost: send it again. Without, bytes under way stay under way (a start).
struct Want {
  StreamId stream;
  std::uint64_t from = 0;
  std::uint64_t window = 0;
  bool again = false;
  /// Bytes of the stream that are here already, ascending, at most kMostRanges: they need not be sent.
  std::vector<Range> have = {};
};

/// In Want.have.
inline constexpr std::size_t kMostRanges = 256;

/// Sender -> receiver: bytes of a stream, in frame 2. At most one chunk.
struct Put {
  StreamId stream;
  std::uint64_t offset = 0;  ///< Position in the stream: bytes sent before this.
  std::uint64_t at = 0;      ///< Where the bytes go in the receiver's buffer.
};

/// Receiver -> sender: everything below `upto` has arrived; it no longer counts against the window.
struct Got {
  StreamId stream;
  std::uint64_t upto = 0;
};

// -------------------------------------------------------------------------------------------- client and coordinator

struct TensorEntry {
  TensorSpec spec;
  Digest digest;
};

/// client -> coordinator. Idempotent: the same id with the same body and tensors is the same request.
/// The tensors follow on stream {kRequestInput, request}, each at the offset input_layout() gives it.
struct Submit {
  std::uint32_t protocol = kProtocolVersion;
  RequestId request;
  std::string body;  ///< The request as JSON (docs/request.schema.json).
  std::vector<TensorEntry> tensors;
  bool plan_only = false;    ///< Answer Accepted with the plan, and forget the request.
  std::uint64_t window = 0;  ///< Bytes of the result stream that may be under way to the client.
  std::uint64_t result_from =
      0;  ///< Bytes of the result stream the client already has, in run `result_run`.
  std::uint64_t result_run = 0;  ///< Accepted.run that it got them from; 0: none.
  std::uint64_t sharing = 0;     ///< Token of the connection over which it shares memory; 0: none.
  std::uint64_t segment = 0;  ///< Shared memory that holds the tensors, as input_layout() lays them
                              ///< out; 0: none. They are not sent, unless Want asks for them.
  std::uint64_t result_segment =
      0;  ///< Shared memory that it made for the result, in case that fits;
          ///< 0: none. Only of the first Submit of a request.
};

/// What one device is expected to do for a request, and why.
struct PlanShare {
  std::string worker;
  std::string device;
  double weight = 0;
  std::int64_t samples = 0;
  std::string
      reason;  ///< In words, always: "12.1 rows a second", "weight 0", "has no model 'flux-dev'".
  double finish_seconds = -1;  ///< When its last sample should end, from now; -1: it has none.
};

/// coordinator -> client: the request will be run. Sent again in answer to a repeated Submit.
struct Accepted {
  RequestId request;
  std::uint64_t run = 0;  ///< Of this request; its result stream begins anew in another. Never 0.
  TensorSpec result;      ///< "samples" or "output", whole.
  std::vector<PlanShare> plan;
  double seconds =
      -1;             ///< What the whole should take from now on, as far as is known; -1: unknown.
  std::string limit;  ///< What keeps it from being faster, in words.
  std::uint64_t segment =
      0;  ///< Shared memory in which the result is when Done comes; 0: none. It is
          ///< not sent, unless Want asks for it.
  bool in_your_memory = false;  ///< Likewise: it will be in Submit.result_segment.
};

/// coordinator -> client: it will not. Ends the request, if it was ever known.
struct Refused {
  RequestId request;
  Error error;
  double retry_after_seconds = 0;  ///< For kOverloaded.
};

/// Progress of one device in one request.
struct DeviceProgress {
  std::string worker;
  std::string device;
  std::int64_t assigned = 0;  ///< Samples given to it and not taken back.
  std::int64_t done = 0;      ///< Samples it has finished.
  std::int64_t steps = 0;     ///< Sampler steps it has finished, of all its samples.
  double seconds = 0;         ///< Busy with this request.
};

/// coordinator -> client, at most every progress interval.
struct RequestProgress {
  RequestId request;
  std::int64_t samples = 0;
  std::int64_t done = 0;
  std::int64_t steps = 0;  ///< Finished, of `steps_total`.
  std::int64_t steps_total = 0;
  std::vector<DeviceProgress> devices;
  std::string waiting_for;  ///< Why nothing runs, in words; empty while something does.
};

/// How one sample came about.
struct SampleReport {
  std::int64_t sample = 0;
  std::string worker;
  std::string device;
  std::int64_t attempts = 0;
  std::int64_t steps = 0;
  double seconds = 0;
  Error error;  ///< Meaningful if `failed`.
  bool failed = false;
  Digest digest = {};  ///< Of its row of the result, as the device gave it; zero: not given.
};

/// Bytes of an error's words in each of `samples` reports, so that all of them fit one message.
[[nodiscard]] constexpr std::size_t error_bytes(std::size_t samples) {
  return std::max<std::size_t>((std::size_t{256} << 10) / std::max<std::size_t>(samples, 1), 40);
}

/// coordinator -> client, after the last byte of the result stream. Kept until DoneAck.
struct Done {
  RequestId request;
  std::uint64_t run = 0;  ///< As in Accepted; 0 if it was never accepted.
  bool failed = false;
  Error error;                     ///< Meaningful if `failed`.
  std::uint64_t result_bytes = 0;  ///< Length of the whole result stream.
  double seconds = 0;              ///< From admission to the last sample.
  double queue_seconds = 0;        ///< From admission to the first sample under way.
  bool late_writers = false;  ///< A worker that lost its samples may still write to the result in
                              ///< shared memory: copy it before it is checked.
  std::vector<SampleReport> samples;
  std::vector<std::string> warnings;
};

/// client -> coordinator: the result is safe; forget the request.
struct DoneAck {
  RequestId request;
};

/// client -> coordinator. Answered by Done with kCancelled (or the result, if it was faster).
struct Cancel {
  RequestId request;
};

/// client -> coordinator: what is there, now? Answered by ClusterStatus with the same tag.
struct StatusQuery {
  std::uint64_t tag = 0;
};

struct WorkerStatus {
  std::string name;
  std::string device;
  std::string device_name;
  std::string host;
  std::uint64_t pid = 0;
  std::string state;  ///< "live", "suspect", "draining" or "lost".
  double weight = 0;
  std::vector<ModelInfo> models;
  std::int64_t assigned = 0;
  std::int64_t samples_done = 0;
  std::int64_t steps_done = 0;
  double busy_seconds = 0;
  double last_heard_seconds = 0;  ///< Ago.
  std::int64_t free_memory_bytes = 0;
  std::string numerics_id;
  std::vector<std::string> loaded;  ///< Models in its device's memory.
};

struct RequestStatus {
  RequestId request;
  std::string model;
  std::string tag;
  std::string state;  ///< "receiving", "running", "waiting" or "done".
  std::int64_t samples = 0;
  std::int64_t done = 0;
  double age_seconds = 0;
};

struct ClusterStatus {
  std::uint64_t tag = 0;
  std::uint64_t epoch = 0;
  std::string version;
  std::string journal;  ///< "memory: requests are lost if the coordinator stops" or where it is.
  double uptime_seconds = 0;
  std::vector<WorkerStatus> workers;
  std::vector<RequestStatus> requests;
  std::uint64_t part = 0;  ///< Of an answer in several messages, with one tag; from 0 on.
  bool more = false;       ///< Another part follows.
};

// -------------------------------------------------------------------------------------------- worker and coordinator

/// worker -> coordinator on control, when its models have been evaluated on its device. Answered by Welcome or Rejected.
struct Hello {
  std::uint32_t protocol = kProtocolVersion;
  std::uint64_t boot = 0;  ///< Random, one a process start: tells a restart from a reconnect.
  std::string name;        ///< Unique in the cluster, stable over restarts: "box:cuda:0".
  std::string host;
  std::uint64_t pid = 0;
  std::string device;       ///< "cpu", "cuda:0", ...
  std::string device_name;  ///< "NVIDIA GeForce RTX 4090", "AMD EPYC ...".
  double weight = 1;
  std::string numerics_id;
  std::vector<ModelInfo> models;
  std::int64_t credit_samples = 16;  ///< Samples it will hold beyond those running.
  std::int64_t max_rows = 8;         ///< Rows in one of its network passes, at most.
  bool yields = false;  ///< Its running samples can be written down: it answers Yield and Save.
  std::uint64_t window = 0;      ///< Bytes of inputs that may be under way to it.
  std::uint64_t blob_bytes = 0;  ///< Of tensors that it keeps for later shards, at most; 0: none.
};

/// coordinator -> worker.
struct Welcome {
  std::uint64_t epoch = 0;
  WorkerId worker;
  Duration beat_interval{};
  std::uint64_t window = 0;  ///< Bytes of results that may be under way to the coordinator.
};

/// coordinator -> worker: not with this version or name. The worker logs it and exits.
struct Rejected {
  Error error;
};

/// A sample that a worker still holds of an earlier session.
struct OfferedSample {
  std::int64_t sample = 0;
  std::int64_t steps = 0;
  bool done = false;  ///< It has ended well, and nobody has taken its result.
};

/// A shard of an earlier session that its worker goes on with, while it has no answer.
struct OfferedShard {
  ShardId shard;
  RequestId request;
  std::uint64_t run = 0;  ///< As in Assign.
  std::int64_t attempt = 1;
  std::vector<std::int64_t> samples;  ///< As in Assign: the rows of its result.
  std::vector<OfferedSample> held;    ///< Those of them that are here.
};

/// Of an offered shard, the samples that are wanted of it.
struct KeptShard {
  ShardId shard;
  std::vector<std::int64_t> samples;
};

/// worker -> coordinator on data: this connection belongs to that worker. Answered by Attached; work follows.
struct Attach {
  WorkerId worker;
  std::uint64_t boot = 0;
  std::uint64_t sharing = 0;         ///< As Submit.sharing.
  std::vector<OfferedShard> offers;  ///< What it holds of an earlier session.
};
/// coordinator -> worker. It drops what it offered and is not among `kept`. Results of those come as ever, each
/// shard's stream from its beginning and never in place.
struct Attached {
  WorkerId worker;
  std::vector<KeptShard> kept;
};

/// coordinator -> worker: I do not know you; say Hello.
struct Rehello {};

/// worker -> coordinator on control, once every beat interval. Answered by HeartbeatAck.
/// Silent for 3 intervals: suspect, gets no work. For 6: lost, its work reruns.
struct Heartbeat {
  WorkerId worker;
  std::uint64_t sequence = 0;  ///< +1 a beat; starts at 0 with a Welcome.
  std::uint64_t passes = 0;    ///< Network passes finished since start: the compute thread's pulse.
  std::int64_t free_memory_bytes = 0;  ///< Device memory, cached blocks freed; -1 unknown.
  Duration busy_for{};                 ///< Age of the running pass; 0: idle.
  std::vector<ShardId>
      shards;  ///< Those it holds, finished ones not yet taken included: finds lost messages.
  std::vector<LoadedModel> loaded;  ///< In its device's memory; empty: it does not say.
};
struct HeartbeatAck {
  std::uint64_t sequence = 0;
};

/// Bytes of shared memory, and where they belong in the concatenation of a shard's tensors.
struct Source {
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  std::uint64_t at = 0;
  friend bool operator==(const Source&, const Source&) = default;
};

/// coordinator -> worker on data: run these samples. Inputs follow on stream {kShardInput, request, shard}.
struct Assign {
  ShardId shard;
  RequestId request;
  std::string body;                   ///< As in Submit.
  std::vector<std::int64_t> samples;  ///< Their indices in the request's batch, ascending.
  std::vector<TensorSpec>
      tensors;        ///< Rows of these samples only; axis 0 is samples.size(), or 1 for all alike.
  TensorSpec result;  ///< The shard's result: row i is samples[i].
  std::int64_t attempt = 1;
  std::uint64_t segment = 0;  ///< Shared memory that holds the inputs; 0: none. They are not sent,
                              ///< unless Want asks for them.
  std::vector<Source> sources;       ///< Where in it, in the order of `at`; whole tensors of rows.
  std::uint64_t result_segment = 0;  ///< Shared memory for the request's whole result; 0: none. Row
                                     ///< samples[i] may be written to its place there.
  std::uint64_t run = 0;             ///< Of the request, as in Accepted.
  /// Of the tensors, in their order: those given are alike for all samples, and the worker may have
  /// them of an earlier shard. If any is, nothing is sent before Want. Empty: none are.
  std::vector<Digest> digests = {};
  std::string blob_scope = {};  ///< Digests of other scopes mean other tensors.
};

/// coordinator -> worker on control: the shard is over, taken whole or given up. Stop what remains and forget it.
struct Revoke {
  ShardId shard;
};

/// coordinator -> worker on control: stop this sample at its next step and send where it stands; it goes on elsewhere.
/// Sent again until answered by Yielded, or by SamplesDone if it was faster.
struct Yield {
  ShardId shard;
  std::int64_t sample = 0;
  ShardId move;  ///< Names the stream {kCheckpoint, request, move} that its state comes on.
};

/// coordinator -> worker on control: the rows of this shard are to be sent from now on rather than written to shared memory,
/// since another worker may have some of them before. Not sent again.
struct SendRows {
  ShardId shard;
};

/// coordinator -> worker on control: samples of this model wait that may become this worker's. It may read the files ahead,
/// so that loading finds them in the box's memory. Not sent again.
struct Prefetch {
  std::string model;
};

/// worker -> coordinator on data. The sample is no longer part of the shard. Sent again until the state has been taken.
struct Yielded {
  WorkerId worker;
  ShardId shard;
  ShardId move;
  std::int64_t sample = 0;
  std::int64_t steps = 0;   ///< Done so far.
  std::uint64_t bytes = 0;  ///< Of the state, on the stream; 0: it has not begun.
};

/// coordinator -> worker on control: write down where this sample stands after its next step, and go on with it.
/// Answered by Saved. Not sent again: another Save of the sample takes its place.
struct Save {
  ShardId shard;
  std::int64_t sample = 0;
  ShardId save;  ///< Names the stream {kCheckpoint, request, save} that its state comes on.
};

/// worker -> coordinator on data. The state is kept until it was taken, the sample ends, or is saved again.
struct Saved {
  WorkerId worker;
  ShardId shard;
  ShardId save;
  std::int64_t sample = 0;
  std::int64_t steps = 0;   ///< Done so far.
  double cost_seconds = 0;  ///< For which the device did nothing else.
  std::uint64_t bytes = 0;  ///< Of the state, on the stream.
};

/// State of one shard on a worker.
struct ShardProgress {
  ShardId shard;
  std::int64_t steps = 0;  ///< Sampler steps finished, over all samples of the shard.
  double seconds = 0;      ///< Compute time spent on it.
  /// Steps each sample has done, in the order of Assign; those before it came here count too.
  std::vector<std::int64_t> sample_steps;
};

/// Passes of a network with as many rows, as measured by a worker: what cost models learn from.
struct PassReport {
  std::string model;
  Shape row;              ///< Of x: the latent's.
  std::int64_t rows = 0;  ///< In each of these passes.
  std::int64_t passes = 1;
  double seconds = 0;  ///< All of them together.
  bool fits = true;    ///< False: so many rows found no memory; `seconds` tells nothing.
};

/// worker -> coordinator on control: all shards that moved, once an interval.
struct WorkerProgress {
  WorkerId worker;
  std::vector<ShardProgress> shards;
  std::vector<PassReport> passes;  ///< Ended since the last such message.
  Duration busy_for{};             ///< As in Heartbeat.
};

/// worker -> coordinator on data, after the bytes. The samples' rows are on stream {kShardResult, request, shard}.
/// Sent again until the shard is revoked.
struct SamplesDone {
  WorkerId worker;
  ShardId shard;
  std::uint64_t stream_upto =
      0;  ///< The rows are complete when this much of the stream has arrived.
  std::vector<SampleReport> samples;  ///< `sample` is the index in the request's batch.
  bool in_place = false;  ///< The rows are in Assign.result_segment, and not on the stream.
};

/// What an unfinished sample looks like. Best effort: the newest of each sample, at most one an interval. On data from
/// the worker to the coordinator, which passes it on to the client.
struct SamplePreview {
  RequestId request;
  ShardId shard;  ///< To a client: 0.
  std::int64_t sample = 0;
  std::int64_t step = 0;  ///< Steps done.
  std::int64_t width = 0;
  std::int64_t height = 0;
  std::vector<std::uint8_t> rgb;  ///< [height, width, 3], at most kMaxPreviewSide either way.
};

/// Longest side of a preview, in pixels: two of them fit a message beside everything else.
inline constexpr std::int64_t kMaxPreviewSide = 128;

/// worker -> coordinator on control: give me no more; I leave when my samples are done.
struct Draining {
  WorkerId worker;
};
/// worker -> coordinator on control: gone, on purpose.
struct Bye {
  WorkerId worker;
  std::string fault =
      {};  ///< What broke, perhaps because of a sample it had; empty: it was asked to leave.
};

using Message =
    std::variant<Want, Put, Got, Submit, Accepted, Refused, RequestProgress, Done, DoneAck, Cancel,
                 StatusQuery, ClusterStatus, Hello, Welcome, Rejected, Attach, Attached, Rehello,
                 Heartbeat, HeartbeatAck, Assign, Revoke, Yield, Yielded, SendRows, Prefetch, Save,
                 Saved, WorkerProgress, SamplesDone, SamplePreview, Draining, Bye>;

/// The name of the message on the wire and in logs: "Submit", "Put", ...
[[nodiscard]] std::string_view name_of(const Message& message);

/// All names, in the order of Message's alternatives.
[[nodiscard]] std::span<const std::string_view> message_names();

/// Where each tensor of a Submit or Assign lies in the concatenation that its stream carries: in order, each at the
/// next multiple of 64 bytes. `total` is the length of the whole.
///
/// Errors: kInvalid as byte_size(), and if the sum overflows.
struct InputLayout {
  std::vector<std::uint64_t> offsets;
  std::uint64_t total = 0;
};
[[nodiscard]] Result<InputLayout> input_layout(const std::vector<TensorSpec>& tensors);

}  // namespace pa
