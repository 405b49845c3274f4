#pragma once

#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "shared/core/time.h"
#include "shared/io/blob_store.h"
#include "shared/io/segment_maps.h"
#include "shared/io/transport.h"
#include "shared/wire/streams.h"
#include "worker/core/worker_core.h"
#include "worker/io/compute_link.h"
#include "worker/io/row_placement.h"

namespace pa {

/// What a worker does with what its core decides: messages, buffers, streams and work for the device. The same on
/// sockets and in the simulator; whoever drives it brings the time, the transports and the device.
///
/// Thread: loop only.
class WorkerNode {
 public:
  using NoteSink = std::function<void(const WorkerNote&)>;

  /// The references must outlive the node. `notes` may be empty.
  WorkerNode(const WorkerOptions& options, StreamOptions streams, ClientTransport& control,
             ClientTransport& data, ComputeLink& compute, NoteSink notes);

  /// Takes what has come in, up to a bound, and does what is due. Returns true if there may be more to take at once.
  bool turn(TimePoint now);

  /// Feeds an event that comes from neither transport nor time.
  void tell(const WorkerEvent& event, TimePoint now);

  /// When to call turn() at the latest; nullopt if nothing waits.
  [[nodiscard]] std::optional<TimePoint> next_deadline() const;

  /// Set when the core wants the process to end.
  [[nodiscard]] const std::optional<worker_action::Exit>& exited() const { return exited_; }

  [[nodiscard]] const WorkerCore& core() const { return core_; }
  [[nodiscard]] const Streams& streams() const { return streams_; }
  [[nodiscard]] const BlobStore& blobs() const { return blobs_; }

  /// Check the core's invariants after every event (tests).
  void check_always() { check_always_ = true; }

 private:
  void take(Incoming&& incoming);
  void feed(const WorkerEvent& event);
  void do_action(worker_action::SendControl& action);
  void do_action(worker_action::SendData& action);
  void do_action(worker_action::Reconnect& action);
  void do_action(worker_action::Allocate& action);
  void do_action(worker_action::Adopt& action) {
    streams_.adopt(action.buffer, std::move(action.memory));
  }
  void do_action(worker_action::Release& action) { streams_.release(action.buffer); }
  void do_action(worker_action::Receive& action);
  void do_action(worker_action::FillIn& action) {
    // It is there and large enough, or NoMemory has been told.
    (void)streams_.write(action.buffer, action.offset, found_.at(action.tensor).bytes());
  }
  void do_action(worker_action::KeepBlobs& action) {
    blobs_.keep(action.blobs, streams_.buffer(action.buffer));
  }
  void do_action(worker_action::StartSending& action);
  void do_action(worker_action::Append& action) {
    PA_CHECK(streams_.append(action.stream, action.piece, action.last));
  }
  void do_action(worker_action::Unshare& action) { shared_.erase(action.shard); }
  void do_action(worker_action::Prefetch& action) { compute_.prefetch(action.model); }
  void do_action(worker_action::Close& action) { streams_.close(action.stream); }
  void do_action(worker_action::Run& action);
  void do_action(worker_action::Cancel& action) { compute_.cancel(action.shard); }
  void do_action(worker_action::Leave& action) { compute_.leave(action.shard, action.sample); }
  void do_action(worker_action::Save& action) { compute_.save(action.shard, action.sample); }
  void do_action(worker_action::Exit& action) { exited_ = action; }
  void do_action(WorkerNote& note);
  void settle();
  void take_assign(Assign&& assign);
  [[nodiscard]] bool take_reports();
  void take_report(EngineReport&& report);
  [[nodiscard]] bool go_on_placing();
  [[nodiscard]] std::vector<bool> find_blobs(const Assign& assign);

  /// What a shard has of shared memory, from Assign to its end.
  struct Shared {
    Assign assign;
    std::vector<std::vector<Buffer>> inputs;  ///< As ShardJob::pieces, until the engine has them.
    Segment result;                           ///< None: results are sent.
  };

  /// Finished rows on their way to shared memory. What the device reported after them waits.
  struct Placing {
    RowsFinished rows;
    RowPlacement placement;
  };

  WorkerCore core_;
  Streams streams_;
  ClientTransport& control_;
  ClientTransport& data_;
  ComputeLink& compute_;
  NoteSink notes_;
  TimePoint now_;
  std::map<ShardId, Shared> shared_;
  SegmentMaps result_maps_;
  BlobStore blobs_;
  std::vector<Buffer> found_;  ///< [tensors] of the Assigned event; empty: not kept here.
  std::optional<Placing> placing_;
  std::vector<WorkerEvent> pending_;  ///< Consequences of actions, fed once the actions are done.
  std::vector<Outgoing> outgoing_;
  std::vector<StreamEvent> stream_events_;
  std::optional<worker_action::Exit> exited_;
  bool check_always_ = false;
};

}  // namespace pa
