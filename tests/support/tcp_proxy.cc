#include "tests/support/tcp_proxy.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <list>
#include <random>

#include "shared/core/result.h"
#include "tests/support/free_tcp_address.h"

namespace pa {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint16_t kPorts = 3;
constexpr std::size_t kMostHeld = 256u << 10;  ///< Of one direction; more waits in its socket.

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

std::uint16_t port_of(const std::string& address) {
  return static_cast<std::uint16_t>(std::stoi(address.substr(address.rfind(':') + 1)));
}

/// What goes one way over a connection.
struct Way {
  int from;
  int to;
  std::string held;
  Clock::time_point next;
};

struct Connection {
  Descriptor client;
  Descriptor server;
  std::array<Way, 2> ways;

  Connection(Descriptor c, Descriptor s)
      : client(std::move(c)),
        server(std::move(s)),
        ways{Way{client.get(), server.get(), {}, {}}, Way{server.get(), client.get(), {}, {}}} {}
};

/// Reads what has come, and sends on a piece if its time has come. False at the end.
bool move_on(Way& way, std::mt19937_64& random) {
  std::array<char, 64u << 10> some{};
  if (way.held.size() < kMostHeld) {
    const ssize_t got = ::recv(way.from, some.data(), some.size(), MSG_DONTWAIT);
    if (got > 0) way.held.append(some.data(), static_cast<std::size_t>(got));
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) return false;
  }
  if (way.held.empty() || Clock::now() < way.next) return true;
  // Many pieces are of a few bytes, most bytes are in large pieces.
  const std::size_t most = random() % 4 == 0 ? 40 : 100000;
  const std::size_t piece = std::min<std::size_t>(way.held.size(), 1 + random() % most);
  const ssize_t sent = ::send(way.to, way.held.data(), piece, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent < 0) return errno == EAGAIN || errno == EINTR;
  way.held.erase(0, static_cast<std::size_t>(sent));
  way.next = Clock::now() + std::chrono::microseconds{random() % 400};
  return true;
}

}  // namespace

TcpProxy::TcpProxy(const std::string& server, std::uint64_t seed) : address_(free_tcp_address()) {
  const std::uint16_t here = port_of(address_);
  const std::uint16_t there = port_of(server);
  for (std::uint16_t i = 0; i < kPorts; ++i) {
    ports_.push_back(static_cast<std::uint16_t>(there + i));
    Descriptor listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const int yes = 1;
    ::setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    sockaddr_in address = loopback(static_cast<std::uint16_t>(here + i));
    PA_CHECK(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
    PA_CHECK(::listen(listener.get(), 64) == 0);
    listeners_.push_back(std::move(listener));
  }
  thread_ = std::thread([this, seed] { run(seed); });
}

TcpProxy::~TcpProxy() {
  ending_ = true;
  thread_.join();
}

void TcpProxy::run(std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::list<Connection> connections;
  int cuts = 0;
  while (!ending_) {
    std::vector<pollfd> waits;
    for (const Descriptor& listener : listeners_) waits.push_back({listener.get(), POLLIN, 0});
    bool holds = false;
    for (const Connection& connection : connections) {
      for (const Way& way : connection.ways) {
        holds = holds || !way.held.empty();
        if (way.held.size() < kMostHeld) waits.push_back({way.from, POLLIN, 0});
      }
    }
    ::poll(waits.data(), waits.size(), holds ? 0 : 1);
    for (std::size_t i = 0; i < listeners_.size(); ++i) {
      Descriptor client(::accept4(listeners_[i].get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (client.get() < 0) continue;
      Descriptor server(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      sockaddr_in address = loopback(ports_[i]);
      const int yes = 1;
      for (const Descriptor* end : {&client, &server}) {
        ::setsockopt(end->get(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
      }
      if (::connect(server.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0) {
        connections.emplace_back(std::move(client), std::move(server));
      }
    }
    if (const int asked = cuts_asked_.load(); asked != cuts) {
      cuts = asked;
      connections.clear();
    }
    std::erase_if(connections, [&](Connection& connection) {
      return !move_on(connection.ways[0], random) || !move_on(connection.ways[1], random);
    });
  }
}

}  // namespace pa
