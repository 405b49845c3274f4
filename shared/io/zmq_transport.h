#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "shared/core/result.h"
#include "shared/io/allow_list.h"
#include "shared/io/curve_keys.h"
#include "shared/io/endpoints.h"
#include "shared/io/pollable.h"
#include "shared/io/transport.h"
#include "shared/io/zap_handler.h"
#include "shared/io/zmq_socket.h"

namespace pa {

struct ZmqOptions {
  std::uint64_t chunk_bytes = 1u << 20;  ///< Largest payload.
  int control_messages = 1000;           ///< Under way to or from a peer on control.
  int data_messages = 4096;              ///< Likewise elsewhere, where streams bound the bytes.
  std::size_t most_peers = 65536;        ///< Server only: connections that are told apart.
  bool share_memory = true;              ///< With peers on this box (shared/io/segment.h).
};

/// What a server needs to listen on TCP, which is with CURVE always.
struct TcpListener {
  std::string address;  ///< "tcp://IP:PORT", of tcp_endpoints().
  CurveKeys keys;
  AllowList allowed;
};

/// ServerTransport over three bound ROUTER sockets at ipc:// in a run directory and, if wanted, three
/// more on TCP. Who comes by ipc:// is this user; who comes by TCP has a key on the list, for the role
/// that the port is for, and that is looked up again for every message.
class ZmqServer final : public ServerTransport, public Pollable {
 public:
  /// Takes the run directory that the endpoints are in, and listens. On TCP only after a self-test has
  /// shown that strangers are refused.
  ///
  /// Errors: kInvalid, an endpoint is not ipc://, or they are in different directories, or the
  /// directory is not this user's alone, or the TCP address is none; kUnavailable, another
  /// coordinator has the directory; kInternal.
  [[nodiscard]] static Result<std::unique_ptr<ZmqServer>> bind(
      const Endpoints& endpoints, const ZmqOptions& options = {},
      std::optional<TcpListener> tcp = std::nullopt);

  /// Replaces the list of who may connect over TCP. Connections of keys that are no longer on it are
  /// as gone: nothing of them is read, and sending to them is kUnavailable.
  void allow(AllowList allowed);

  /// As ZapHandler; none without TCP.
  [[nodiscard]] std::vector<Refusal> take_refusals();

  [[nodiscard]] Status send(PeerId peer, const Message& message, const Buffer& payload) override;

  /// Takes control before workers' data before clients', so results before inputs, as long as there is
  /// some of each, but no more than a few of one at a time.
  [[nodiscard]] std::optional<Incoming> receive() override;
  [[nodiscard]] std::uint64_t rejected() const override;
  [[nodiscard]] bool share(PeerId peer, std::uint64_t id, const Segment& segment) override;
  [[nodiscard]] std::optional<Segment> shared(PeerId peer, std::uint64_t id) override;
  [[nodiscard]] std::optional<PeerId> gone() override;

  void descriptors(std::vector<int>& out) const override;
  [[nodiscard]] bool ready() override;
  void woken() override;

  ~ZmqServer() override;

 private:
  struct State;
  explicit ZmqServer(std::unique_ptr<State> state);

  std::unique_ptr<State> state_;
};

/// ClientTransport over a DEALER socket, which reconnects by itself (as a new peer).
class ZmqClient final : public ClientTransport, public Pollable {
 public:
  /// Does not wait for the server; it may start later. `keys` are for tcp://, which needs them.
  ///
  /// Errors: kInvalid, the endpoint is none, or its directory not this user's alone, or there are no
  /// keys for it; kInternal.
  [[nodiscard]] static Result<std::unique_ptr<ZmqClient>> connect(
      const ZmqContext& context, const std::string& endpoint, Channel channel,
      const ZmqOptions& options = {}, std::optional<PeerKeys> keys = std::nullopt);

  [[nodiscard]] Status send(const Message& message, const Buffer& payload) override;
  [[nodiscard]] std::optional<Incoming> receive() override;
  [[nodiscard]] Status reconnect() override;
  [[nodiscard]] std::uint64_t sharing() override;
  [[nodiscard]] bool share(std::uint64_t id, const Segment& segment) override;
  [[nodiscard]] std::optional<Segment> shared(std::uint64_t id) override;

  void descriptors(std::vector<int>& out) const override;
  [[nodiscard]] bool ready() override;

  ~ZmqClient() override;

 private:
  struct State;
  explicit ZmqClient(std::unique_ptr<State> state);

  std::unique_ptr<State> state_;
};

}  // namespace pa
