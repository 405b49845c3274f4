#pragma once

#include <string>

#include "shared/core/result.h"

namespace pa {

/// Where a coordinator's three sockets are, as ZeroMQ spells it.
struct Endpoints {
  std::string client;
  std::string control;
  std::string data;
};

/// The sockets of a one-box cluster: "ipc://RUN_DIR/client.sock", "control.sock" and "data.sock".
[[nodiscard]] Endpoints ipc_endpoints(const std::string& run_dir);

/// kInvalid unless `endpoint` is "ipc://" and an absolute path that fits a socket address
/// (107 bytes). "tcp://" is refused: it is spoken with CURVE keys only, which this version lacks.
[[nodiscard]] Status check_endpoint(const std::string& endpoint);

/// kInvalid unless `address` is an IPv4 or IPv6 address in numbers.
[[nodiscard]] Status check_ip_address(const std::string& address);

}  // namespace pa
