#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "shared/io/descriptor.h"

namespace pa {

/// A poor network between clients and a server's three TCP ports: bytes go on in pieces of random
/// size, after random times, so that frames come in parts and several at once; cut() ends every
/// connection in the middle of what it carries.
class TcpProxy {
 public:
  /// `server` is the address of tcp_endpoints(). Pieces and times come from `seed`.
  TcpProxy(const std::string& server, std::uint64_t seed);
  ~TcpProxy();
  TcpProxy(const TcpProxy&) = delete;
  TcpProxy& operator=(const TcpProxy&) = delete;

  /// Where clients connect to reach the server.
  [[nodiscard]] const std::string& address() const { return address_; }

  /// Ends all connections; new ones are taken at once. What is in them is lost.
  void cut() { cuts_asked_.fetch_add(1); }

 private:
  void run(std::uint64_t seed);

  std::string address_;
  std::vector<std::uint16_t> ports_;  // Of the server.
  std::vector<Descriptor> listeners_;
  std::atomic<int> cuts_asked_{0};
  std::atomic<bool> ending_{false};
  std::thread thread_;
};

}  // namespace pa
