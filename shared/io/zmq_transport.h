#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "shared/core/result.h"
#include "shared/io/endpoints.h"
#include "shared/io/pollable.h"
#include "shared/io/transport.h"
#include "shared/io/zmq_socket.h"

namespace pa {

/// What keeps strangers out.
enum class Security : std::uint8_t {
  kRunDirectory,  ///< ipc:// in a directory that only this user may enter.
};

struct ZmqOptions {
  Security security = Security::kRunDirectory;
  std::uint64_t chunk_bytes = 1u << 20;  ///< Largest payload.
  int control_messages = 1000;           ///< Under way to or from a peer on control.
  int data_messages = 4096;              ///< Likewise elsewhere, where streams bound the bytes.
  std::size_t most_peers = 65536;        ///< Server only: connections that are told apart.
};

/// ServerTransport over three bound ROUTER sockets.
class ZmqServer final : public ServerTransport, public Pollable {
 public:
  /// Takes the run directory that the endpoints are in, and listens.
  ///
  /// Errors: kInvalid, an endpoint is not ipc://, or they are in different directories, or the
  /// directory is not this user's alone; kUnavailable, another coordinator has it; kInternal.
  [[nodiscard]] static Result<std::unique_ptr<ZmqServer>> bind(const Endpoints& endpoints,
                                                               const ZmqOptions& options = {});

  [[nodiscard]] Status send(PeerId peer, const Message& message, const Buffer& payload) override;

  /// Takes from control before clients before data, as long as there is some of each, but no more
  /// than a few of one at a time.
  [[nodiscard]] std::optional<Incoming> receive() override;
  [[nodiscard]] std::uint64_t rejected() const override;

  void descriptors(std::vector<int>& out) const override;
  [[nodiscard]] bool ready() override;

  ~ZmqServer() override;

 private:
  struct State;
  explicit ZmqServer(std::unique_ptr<State> state);

  std::unique_ptr<State> state_;
};

/// ClientTransport over a DEALER socket, which reconnects by itself (as a new peer).
class ZmqClient final : public ClientTransport, public Pollable {
 public:
  /// Does not wait for the server; it may start later.
  ///
  /// Errors: kInvalid, the endpoint is not ipc:// or its directory not this user's alone; kInternal.
  [[nodiscard]] static Result<std::unique_ptr<ZmqClient>> connect(const ZmqContext& context,
                                                                  const std::string& endpoint,
                                                                  Channel channel,
                                                                  const ZmqOptions& options = {});

  [[nodiscard]] Status send(const Message& message, const Buffer& payload) override;
  [[nodiscard]] std::optional<Incoming> receive() override;
  [[nodiscard]] Status reconnect() override;

  void descriptors(std::vector<int>& out) const override;
  [[nodiscard]] bool ready() override;

  ~ZmqClient() override;

 private:
  struct State;
  explicit ZmqClient(std::unique_ptr<State> state);

  std::unique_ptr<State> state_;
};

}  // namespace pa
