#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "coordinator/core/coordinator.h"
#include "coordinator/journal/journal.h"
#include "shared/core/time.h"
#include "shared/io/blob_store.h"
#include "shared/io/transport.h"
#include "shared/wire/streams.h"

namespace pa {

/// What a coordinator does with what its core decides: messages, buffers and streams. The same on sockets and in the
/// simulator; whoever drives it brings the time and the transport.
///
/// Thread: loop only.
class CoordinatorNode {
 public:
  using NoteSink = std::function<void(const Note&)>;

  /// `transport` and `journal` must outlive the node. `notes` may be empty.
  CoordinatorNode(const CoordinatorOptions& options, StreamOptions streams,
                  ServerTransport& transport, Journal& journal, NoteSink notes);

  /// Goes on with what an earlier life left in the journal. Call before the first turn.
  void recover(TimePoint now, Recovery recovery);

  /// Takes what has come in, up to a bound, and does what is due. Returns true if there may be more to take at once.
  bool turn(TimePoint now);

  /// Feeds an event that comes from neither transport nor time.
  void tell(const Event& event, TimePoint now);

  /// When to call turn() at the latest; nullopt if nothing waits.
  [[nodiscard]] std::optional<TimePoint> next_deadline() const;

  /// The core wants the process to end.
  [[nodiscard]] bool exited() const { return exited_; }

  [[nodiscard]] const Coordinator& core() const { return core_; }
  [[nodiscard]] std::uint64_t buffered_bytes() const { return streams_.buffered_bytes(); }
  [[nodiscard]] const Streams& streams() const { return streams_; }
  [[nodiscard]] const BlobStore& blobs() const { return blobs_; }

  /// Check the core's invariants after every event (tests).
  void check_always() { check_always_ = true; }

 private:
  void take(Incoming&& incoming);
  void feed(const Event& event);
  void perform(Action& action);
  void do_action(action::Send& action);
  void do_action(action::Allocate& action);
  void do_action(action::AdoptSegment& action);
  void do_action(action::Freeze& action);
  void do_action(action::FillIn& action);
  void do_action(action::Copy& action);
  void do_action(action::KeepBlobs& action) {
    blobs_.keep(action.blobs, streams_.buffer(action.buffer));
  }
  void do_action(action::Release& action) {
    streams_.release(action.buffer);
    segments_.erase(action.buffer);
  }
  void do_action(action::Receive& action);
  void do_action(action::Expect& action) { streams_.expect(action.stream, action.upto, now_); }
  void do_action(action::StartSending& action);
  void do_action(action::Append& action);
  void do_action(action::Close& action) { streams_.close(action.stream); }
  void do_action(action::ForgetPeer& action) { streams_.forget_peer(action.peer); }
  void do_action(action::JournalRequest& action);
  void do_action(action::JournalSamples& action);
  void do_action(action::JournalOutcome& action) {
    journal_.write(JournalOutcome{std::move(action.done)});
  }
  void do_action(action::JournalErase& action) { journal_.write(JournalErase{action.request}); }
  void do_action(action::Restore& action);
  void do_action(action::Exit&) { exited_ = true; }
  void do_action(Note& note);
  void send(PeerId peer, const Message& message);
  void adopt(BufferId buffer, const Segment& segment, std::uint64_t bytes);
  void settle();
  [[nodiscard]] std::vector<bool> find_blobs(const Submit& submit, const std::string& who);

  Coordinator core_;
  Streams streams_;
  ServerTransport& transport_;
  Journal& journal_;
  NoteSink notes_;
  TimePoint now_;
  /// Buffers of recovered requests until the core has named them: input, result.
  std::map<RequestId, std::pair<Buffer, Buffer>> recovered_;
  std::map<BufferId, Segment> segments_;   ///< Buffers that can be shared; mapped only if need be.
  std::optional<Segment> arrived_;         ///< With the Submitted event that the core is told of.
  std::optional<Segment> arrived_result_;  ///< Likewise: for the result.
  BlobStore blobs_;
  std::vector<Buffer> found_;   ///< [tensors] of that event; empty: not kept here.
  std::vector<Event> pending_;  ///< Consequences of actions, fed once the actions are done.
  std::vector<Outgoing> outgoing_;
  std::vector<StreamEvent> stream_events_;
  bool exited_ = false;
  bool check_always_ = false;
};

}  // namespace pa
