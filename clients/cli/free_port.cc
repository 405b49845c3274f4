#include "clients/cli/free_port.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "shared/io/descriptor.h"

namespace pa::cli {

Result<std::vector<int>> free_ports(std::size_t count) {
  std::vector<int> ports;
  std::vector<Descriptor> sockets;  // Kept open to the end, so that no port comes twice.
  while (ports.size() < count) {
    const Descriptor& socket =
        sockets.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof(address);
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    if (socket.get() < 0 || ::bind(socket.get(), generic, length) != 0 ||
        ::getsockname(socket.get(), generic, &length) != 0) {
      return internal(std::string("no free TCP port: ") + std::strerror(errno));
    }
    ports.push_back(ntohs(address.sin_port));
  }
  return ports;
}

}  // namespace pa::cli
