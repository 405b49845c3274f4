#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <variant>
#include <vector>

#include "shared/core/buffer.h"
#include "shared/core/id.h"
#include "shared/core/result.h"
#include "shared/core/time.h"
#include "shared/wire/messages.h"

namespace pa {

/// Names a buffer of a process, so that cores can speak of bytes without holding them.
using BufferId = Id<struct BufferTag>;

/// Part of a buffer to be sent, and where it goes in the receiver's.
struct Piece {
  BufferId buffer;
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  std::uint64_t at = 0;
};

/// Memory that is mapped only when its bytes are wanted.
struct LazyBuffer {
  std::uint64_t bytes = 0;
  std::function<Buffer()> map;  ///< To read from; empty if that is not possible. Called once.
  /// Copies bytes to `offset`; false if that is not possible.
  std::function<bool(std::uint64_t offset, std::span<const std::byte> source)> write;
};

/// A message on its way out, with the bytes of frame 2 if it is a Put (sent from where they lie).
struct Outgoing {
  PeerId peer;
  Message message;
  Buffer payload;
};

/// Everything below `upto` of a received stream is in its buffer.
struct StreamArrived {
  StreamId stream;
  std::uint64_t upto = 0;
  bool whole = false;  ///< upto == total.
};
/// The receiver has the whole stream (all that was given to send, and nothing more will be).
struct StreamSent {
  StreamId stream;
};
/// The sender wants bytes in a place that is not its to write to. They were dropped, as all that
/// follows will be.
struct StreamBroken {
  StreamId stream;
};
/// The receiver's buffer cannot be written to: there is no memory, or it was shared and is sealed.
struct StreamUnwritable {
  StreamId stream;
};
using StreamEvent = std::variant<StreamArrived, StreamSent, StreamBroken, StreamUnwritable>;

struct StreamOptions {
  /// Of one Put, at most.
  std::uint64_t chunk_bytes = 1u << 20;
  /// That this side lets a peer have under way, per stream.
  std::uint64_t window_bytes = 8u << 20;
  /// Silence before an expected byte is asked for, or an answer. Doubles while nobody answers, up to
  /// 8 times as long.
  Duration retry = std::chrono::seconds{1};
  /// Before trying again what the transport had no room for.
  Duration pause = std::chrono::milliseconds{2};
  /// Freed memory kept for the next buffers, at most.
  std::uint64_t keep_bytes = 256u << 20;
};

/// Moves bytes between the buffers of this process and its peers': chunked, in order, within a window, and resumable
/// from any offset. Knows no socket, thread or clock; the same code runs in every process and in the simulator.
///
/// Loss and doubling: a Put that is not the next one is dropped and the stream asked for again (Want
/// with `again`), at once for a gap and after `retry` for silence. A Want without `again` only
/// confirms and sets the window: the sender does not rewind, so what it sent eagerly still counts. A
/// sender whose bytes nobody confirms shows where it stands by an empty Put after `retry`, and is
/// answered with Got or Want. What the receiver has already is passed over by both, as if it had been
/// sent and had arrived; a sender that sends it nevertheless does no harm. A message of a closed or unknown stream is dropped: closing a stream
/// fences off whoever still writes to it. What makes no sense (a Put beyond the buffer, a Want beyond
/// the end) is dropped too.
///
/// Thread: loop only.
class Streams {
 public:
  explicit Streams(StreamOptions options);

  // ------------------------------------------------------------------------------------------------------- buffers

  /// Makes a buffer of `bytes` bytes, contents unspecified. kOverloaded if there is no memory.
  [[nodiscard]] Status allocate(BufferId id, std::uint64_t bytes);
  /// Gives a name to memory made elsewhere (a mapped file, a tensor).
  void adopt(BufferId id, Buffer buffer);
  void adopt(BufferId id, LazyBuffer buffer);
  /// Empty if unknown.
  [[nodiscard]] Buffer buffer(BufferId id) const;
  /// Copies bytes to `at`; false if the buffer is unknown, too small, or cannot be written to.
  [[nodiscard]] bool write(BufferId id, std::uint64_t at, std::span<const std::byte> source);
  /// Forgets the name; the memory lives until no stream or message needs it. Unknown ids are ignored.
  void release(BufferId id);

  // ------------------------------------------------------------------------------------------------------- streams

  /// Makes room for `total` bytes from `peer` in `buffer`, at `places` of it only (empty: anywhere). With `ask`, a Want is sent at once and everything is expected;
  /// without, the sender is known to begin by itself, and silence is no reason to ask until expect() says so. `peer` must
  /// be the one that sends; others' Puts are dropped. Opening an open stream again with another peer continues where it
  /// stood, from the new peer. An unknown `buffer` is ignored.
  ///
  /// `have`: bytes of the stream that are in the buffer already, as in Want. `base`: the place that the sender names where
  /// the buffer begins.
  void receive(const StreamId& id, PeerId peer, BufferId buffer, std::uint64_t total, bool ask,
               TimePoint now, std::vector<Range> places = {}, std::vector<Range> have = {},
               std::uint64_t base = 0);

  /// The sender is known to have sent everything below `upto`: if it is not here after `retry` of silence, it is asked
  /// for again. Never lowers what is expected; unknown ids are ignored.
  void expect(const StreamId& id, std::uint64_t upto, TimePoint now);

  /// Begins a stream to `peer` at position `from`, with at most `window` bytes under way; pieces come by append().
  /// Opening an open stream again replaces its peer and position, and keeps its pieces.
  void send(const StreamId& id, PeerId peer, std::uint64_t window, std::uint64_t from,
            TimePoint now);
  /// Adds bytes at the end of a stream. `last`: nothing more follows. The piece's buffer must be known and hold it, if
  /// the piece is not empty. An unknown stream is ignored. False, and nothing happens, if a lazy buffer could not be
  /// mapped.
  bool append(const StreamId& id, const Piece& piece, bool last);
  /// Whether the stream was begun by send() and not closed.
  [[nodiscard]] bool sends(const StreamId& id) const;

  /// Forgets a stream in either direction. Unknown ids are ignored.
  void close(const StreamId& id);
  /// Stops sending to and asking `peer`; its streams stay, to be opened again with another peer.
  void forget_peer(PeerId peer);

  // ---------------------------------------------------------------------------------------------------------- turns

  /// Takes a Put that came from `peer` with `payload`. Copies the bytes to their place.
  void on(PeerId peer, const Put& put, std::span<const std::byte> payload, TimePoint now);
  void on(PeerId peer, const Got& got, TimePoint now);
  void on(PeerId peer, const Want& want, TimePoint now);

  /// Appends what must be sent now and what happened since the last call. Call after every turn of the loop, and at
  /// next_deadline(). The streams of a peer take turns, a Put each.
  void pump(TimePoint now, std::vector<Outgoing>& out, std::vector<StreamEvent>& events);

  /// Takes back one of pump()'s messages that the transport had no room for (kOverloaded): it comes again after `pause`.
  void unsent(const Outgoing& outgoing, TimePoint now);

  /// When pump() may have something to do without anything having come in; nullopt if nothing waits. May be early.
  [[nodiscard]] std::optional<TimePoint> next_deadline() const;

  /// Bytes of all named buffers.
  [[nodiscard]] std::uint64_t buffered_bytes() const;
  /// Bytes of Puts copied to their places so far.
  [[nodiscard]] std::uint64_t copied_bytes() const;
  /// Bytes of Puts given out by pump() so far, those sent again included.
  [[nodiscard]] std::uint64_t sent_bytes() const;
  /// Bytes of lazy buffers mapped so far.
  [[nodiscard]] std::uint64_t mapped_bytes() const;

  ~Streams();
  Streams(const Streams&) = delete;
  Streams& operator=(const Streams&) = delete;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pa
