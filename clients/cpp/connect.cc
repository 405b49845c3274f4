// Clients over ZeroMQ.

#include <utility>

#include "clients/cpp/client.h"
#include "shared/io/zmq_transport.h"

namespace pa {

Result<std::unique_ptr<Client>> Client::connect(const std::string& endpoint,
                                                ClientOptions options) {
  PA_ASSIGN(std::unique_ptr<ZmqClient> transport,
            ZmqClient::connect(ZmqContext(), endpoint, Channel::kClient));
  Pollable& source = *transport;
  return std::make_unique<Client>(std::move(transport), source, endpoint, options);
}

}  // namespace pa
