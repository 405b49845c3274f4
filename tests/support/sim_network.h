#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "shared/core/time.h"
#include "shared/io/transport.h"

namespace pa {

struct SimNetworkOptions {
  /// One way, for every message.
  Duration latency = std::chrono::microseconds{100};
  /// Added to it, anew for every message: 0 to this.
  Duration jitter{};
  /// Of each connection and direction; 0: no limit.
  double bytes_per_second = 0;
  /// Part of the messages that vanish, and that arrive twice.
  double loss = 0;
  double doubling = 0;
  /// Whether jitter lets messages of a connection overtake each other.
  bool reordering = false;
  /// Whether messages pass through the codec, and its limits.
  bool codec = true;
  /// A connection and direction holds so many messages before it is full.
  std::size_t queue_messages = 4096;
  std::uint64_t chunk_bytes = 1u << 20;
  /// Part of the segments that arrive when a side shares memory; 0: no side does.
  double sharing = 0;
};

/// A server, its clients and what lies between, on simulated time. Equal seeds, options and calls
/// give equal runs.
///
/// Clients may outlive the network's other users, but not advance_to() calls on their behalf: time
/// moves only here. Thread: one only.
class SimNetwork {
 public:
  explicit SimNetwork(std::uint64_t seed, const SimNetworkOptions& options = {});
  ~SimNetwork();

  [[nodiscard]] ServerTransport& server();

  /// A client's connection. Its end is the end of the peer, which the server notices after `latency`.
  [[nodiscard]] std::unique_ptr<ClientTransport> connect(Channel channel);

  /// Delivers what is due until `now`, which must not run backwards.
  void advance_to(TimePoint now);
  /// When the next message is due; nullopt if none is under way.
  [[nodiscard]] std::optional<TimePoint> next_event() const;

  // ----------------------------------------------------------------------------------------- faults

  /// While a link is cut, what is sent in either direction vanishes, and neither side notices.
  void cut(const ClientTransport& client, bool is_cut);
  /// The server's process ends and another begins: all that was under way is lost, and every client is
  /// a new peer.
  void restart_server();
  /// Sends frames as they are, from this client. They need make no sense.
  void inject(const ClientTransport& client, std::vector<std::string> frames);

  /// The client's id at the server; nullopt until a message of it has arrived.
  [[nodiscard]] std::optional<PeerId> peer_of(const ClientTransport& client) const;

 private:
  struct State;
  class Server;
  class Client;

  std::shared_ptr<State> state_;
  std::unique_ptr<Server> server_;
};

}  // namespace pa
