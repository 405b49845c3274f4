#include "shared/io/endpoints.h"

#include <arpa/inet.h>

#include <string_view>

namespace pa {
namespace {

constexpr std::string_view kIpc = "ipc://";
constexpr std::string_view kTcp = "tcp://";
constexpr std::size_t kSocketPathBytes = 107;  // sockaddr_un::sun_path, less the final 0.

}  // namespace

Endpoints ipc_endpoints(const std::string& run_dir) {
  const std::string base = std::string(kIpc) + run_dir + "/";
  return {base + "client.sock", base + "control.sock", base + "data.sock"};
}

Status check_endpoint(const std::string& endpoint) {
  if (endpoint.starts_with(kTcp)) {
    return invalid(
        "TCP is spoken with CURVE keys only, which this version does not have; expected "
        "ipc:///PATH");
  }
  const std::string_view path =
      std::string_view(endpoint).substr(endpoint.starts_with(kIpc) ? kIpc.size() : endpoint.size());
  if (!path.starts_with('/')) return invalid("expected ipc:///PATH");
  if (path.size() > kSocketPathBytes) {
    return invalid("a socket's path has at most " + std::to_string(kSocketPathBytes) +
                   " bytes; this one has " + std::to_string(path.size()));
  }
  return {};
}

Status check_ip_address(const std::string& address) {
  in6_addr parsed{};  // Large enough for both families.
  if (::inet_pton(AF_INET, address.c_str(), &parsed) == 1) return {};
  if (::inet_pton(AF_INET6, address.c_str(), &parsed) == 1) return {};
  return invalid("expected an IP address, as in 127.0.0.1 or ::1");
}

}  // namespace pa
