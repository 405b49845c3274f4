#include "tests/support/free_tcp_address.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#include <optional>

#include "shared/core/result.h"
#include "shared/io/descriptor.h"

namespace pa {
namespace {

constexpr int kTries = 100;

/// Port 0: any.
std::optional<std::uint16_t> try_port(const Descriptor& socket, std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  auto* const raw = reinterpret_cast<sockaddr*>(&address);
  socklen_t size = sizeof(address);
  if (::bind(socket.get(), raw, size) != 0 || ::getsockname(socket.get(), raw, &size) != 0) {
    return std::nullopt;
  }
  return ntohs(address.sin_port);
}

}  // namespace

std::string free_tcp_address() {
  for (int i = 0; i < kTries; ++i) {
    const Descriptor first(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const Descriptor second(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const Descriptor third(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const std::optional<std::uint16_t> port = try_port(first, 0);
    if (!port || *port > 65533) continue;
    const auto next = static_cast<std::uint16_t>(*port + 1);
    const auto last = static_cast<std::uint16_t>(*port + 2);
    if (try_port(second, next) && try_port(third, last)) {
      return "tcp://127.0.0.1:" + std::to_string(*port);
    }
  }
  broken(__FILE__, __LINE__, "there are three free ports in a row");
}

}  // namespace pa
