#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "shared/core/buffer.h"
#include "shared/core/result.h"

namespace pa {

/// ZeroMQ's I/O threads: the first for what must be quick (clients, control), the second for bulk.
/// Copies are the same threads, which end with the last copy and socket.
class ZmqContext {
 public:
  /// Aborts if the process is out of descriptors or threads.
  ZmqContext();

 private:
  friend class ZmqSocket;
  friend class ZapHandler;
  std::shared_ptr<void> context_;
};

/// CURVE on one socket, keys in Z85.
struct ZmqCurve {
  std::string public_key;
  std::string secret_key;
  std::string server_key;  ///< DEALER: whom it expects at the other end.
  std::string domain;      ///< ROUTER: what the ZapHandler is asked about.
};

struct ZmqSocketOptions {
  bool router = false;        ///< ROUTER, and bound; else DEALER, and connected.
  bool bulk = false;          ///< On the second I/O thread.
  int queue_messages = 1000;  ///< A peer and direction, before kFull.
  std::uint64_t largest_frame_bytes = 1u
                                      << 20;  ///< A peer that sends a larger one is disconnected.
  std::optional<ZmqCurve> curve;              ///< None: for ipc:// in a run directory only.
};

/// What came in, in frames. Spans are valid until the next receive().
struct ZmqMessage {
  std::span<const std::byte> route;   ///< Of a ROUTER: whom it is from.
  std::span<const std::byte> header;  ///< Empty if there was none.
  Buffer payload;                     ///< The received memory itself.
  std::size_t frames = 0;             ///< Without the route. Those after the second are lost.
  std::string_view user;              ///< What the ZapHandler called the sender; else empty.
};

/// A socket of libzmq, with the options that its behaviours ask for (docs/protocol.md), and nothing
/// that blocks. Thread: one only, the one that made it.
class ZmqSocket {
 public:
  enum class Sent : std::uint8_t {
    kDone,
    kFull,  ///< Nothing was sent. Also: not connected (DEALER).
    kGone,  ///< Nothing was sent: no such route (ROUTER).
  };

  /// kInternal if libzmq refuses, for lack of descriptors.
  [[nodiscard]] static Result<ZmqSocket> open(const ZmqContext& context,
                                              const ZmqSocketOptions& options);

  /// Errors: kInternal, with what the system says.
  [[nodiscard]] Status bind(const std::string& endpoint);
  [[nodiscard]] Status connect(const std::string& endpoint);

  /// Hands over a message of one frame, or two if `payload` is not empty. `route` is empty for a
  /// DEALER. A payload of 8 KiB or more is sent from where it lies; its last reference may then be
  /// dropped by an I/O thread.
  [[nodiscard]] Sent send(std::span<const std::byte> route, std::string_view header,
                          const Buffer& payload);

  /// The next message that is there, or nullopt.
  [[nodiscard]] std::optional<ZmqMessage> receive();

  /// True if receive() would return one. Makes descriptor() tell of the next.
  [[nodiscard]] bool readable();

  /// Becomes readable when readable() may have become true; tells of changes only.
  [[nodiscard]] int descriptor() const;

  ~ZmqSocket();
  ZmqSocket(ZmqSocket&&) noexcept;
  ZmqSocket& operator=(ZmqSocket&&) noexcept;

 private:
  struct State;
  explicit ZmqSocket(std::unique_ptr<State> state);

  std::unique_ptr<State> state_;
};

}  // namespace pa
