#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "shared/core/buffer.h"
#include "shared/core/id.h"
#include "shared/core/result.h"
#include "shared/core/time.h"
#include "shared/io/segment.h"
#include "shared/wire/messages.h"

namespace pa {

/// The three kinds of connection a coordinator takes.
enum class Channel : std::uint8_t { kClient, kWorkerControl, kWorkerData };

/// A message that came in. `payload` is frame 2 of a Put (empty otherwise) and owns its memory.
struct Incoming {
  PeerId peer;
  Channel channel = Channel::kClient;
  Message message;
  Buffer payload;
  /// Whom the sender's key belongs to, as in AllowList: a client's name, or a pattern for a worker's.
  /// Empty on this box, where the run directory keeps strangers out.
  std::string who;
  bool shares = false;  ///< The sender shares memory with us: ServerTransport::share() works.
};

/// Many peers on one side (the coordinator's). A peer appears with its first message.
///
/// Thread: the loop's only. Nothing blocks.
class ServerTransport {
 public:
  virtual ~ServerTransport() = default;

  /// Hands a message to the peer's connection. Success is not delivery.
  ///
  /// Errors: kUnavailable, the peer is gone (it will not come back under this id);
  ///         kOverloaded, its queue is full; kInvalid, the message exceeds the channel's limit.
  [[nodiscard]] virtual Status send(PeerId peer, const Message& message, const Buffer& payload) = 0;

  /// The next message that came in, or nullopt. Malformed ones are counted and dropped.
  [[nodiscard]] virtual std::optional<Incoming> receive() = 0;

  /// Malformed or oversized messages dropped so far.
  [[nodiscard]] virtual std::uint64_t rejected() const = 0;

  /// Gives a peer on this box memory under a number that a message to it, sent after this, will name.
  /// False if it cannot be given any: send the bytes.
  [[nodiscard]] virtual bool share(PeerId peer, std::uint64_t id, const Segment& segment);

  /// Memory that the peer gave us under the number that a message of it names; nullopt if it did not
  /// come: ask for the bytes. Only once.
  [[nodiscard]] virtual std::optional<Segment> shared(PeerId peer, std::uint64_t id);

  /// A peer that is known to be gone since the last call, or nullopt. Others are found gone when
  /// something is sent to them.
  [[nodiscard]] virtual std::optional<PeerId> gone();
};

/// One connection to a server (a client's, or one of a worker's two).
///
/// Thread: the loop's only. Nothing blocks.
class ClientTransport {
 public:
  virtual ~ClientTransport() = default;

  /// Errors: kOverloaded, not connected yet or the queue is full; kInvalid, the message exceeds the channel's limit.
  [[nodiscard]] virtual Status send(const Message& message, const Buffer& payload) = 0;

  /// The next message that came in, or nullopt. Its `peer` is always PeerId{0}.
  [[nodiscard]] virtual std::optional<Incoming> receive() = 0;

  /// Drops the connection and makes a fresh one, as a new peer. Messages not yet sent are lost.
  [[nodiscard]] virtual Status reconnect() = 0;

  /// What Submit and Attach call the connection over which this end shares memory; 0 if it does not.
  [[nodiscard]] virtual std::uint64_t sharing();
  /// As ServerTransport's.
  [[nodiscard]] virtual bool share(std::uint64_t id, const Segment& segment);
  [[nodiscard]] virtual std::optional<Segment> shared(std::uint64_t id);
};

}  // namespace pa
