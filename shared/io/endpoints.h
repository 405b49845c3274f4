#pragma once

#include <cstdint>
#include <string>

#include "shared/core/result.h"

namespace pa {

/// Where a coordinator's three sockets are, as ZeroMQ spells it.
struct Endpoints {
  std::string client;
  std::string control;
  std::string data;
};

/// The port of a coordinator whose address names none.
inline constexpr std::uint16_t kDefaultPort = 9460;

/// The sockets of a one-box cluster: "ipc://RUN_DIR/client.sock", "control.sock" and "data.sock".
[[nodiscard]] Endpoints ipc_endpoints(const std::string& run_dir);

/// The sockets of a coordinator at `address`, which is "tcp://HOST" or "tcp://HOST:PORT": clients at
/// PORT, workers' control at PORT + 1 and their data at PORT + 2.
///
/// Errors: kInvalid, it is not such an address, or PORT is not 1 to 65533.
[[nodiscard]] Result<Endpoints> tcp_endpoints(const std::string& address);

[[nodiscard]] bool is_tcp(const std::string& endpoint);

/// kInvalid unless `endpoint` is "ipc://" and an absolute path that fits a socket address
/// (107 bytes).
[[nodiscard]] Status check_endpoint(const std::string& endpoint);

/// kInvalid unless `address` is one of tcp_endpoints() to listen at: HOST an IP address in numbers,
/// since a name or an interface may come to mean another one.
[[nodiscard]] Status check_listen_address(const std::string& address);

/// kInvalid unless `address` is an IPv4 or IPv6 address in numbers.
[[nodiscard]] Status check_ip_address(const std::string& address);

}  // namespace pa
