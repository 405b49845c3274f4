// Clients over ZeroMQ.

#include <utility>

#include "clients/cpp/client.h"
#include "shared/io/zmq_transport.h"

namespace pa {

Result<std::unique_ptr<Client>> Client::connect(const std::string& endpoint,
                                                ClientOptions options) {
  std::string socket = endpoint;
  std::optional<PeerKeys> keys;
  if (is_tcp(endpoint)) {
    PA_ASSIGN(const Endpoints endpoints, tcp_endpoints(endpoint));
    socket = endpoints.client;
    PA_ASSIGN(keys, read_peer_keys(options.keys));
  }
  PA_ASSIGN(std::unique_ptr<ZmqClient> transport,
            ZmqClient::connect(ZmqContext(), socket, Channel::kClient, {}, std::move(keys)));
  Pollable& source = *transport;
  return std::make_unique<Client>(std::move(transport), source, endpoint, std::move(options));
}

}  // namespace pa
