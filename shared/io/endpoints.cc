#include "shared/io/endpoints.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <string_view>

namespace pa {
namespace {

constexpr std::string_view kIpc = "ipc://";
constexpr std::string_view kTcp = "tcp://";
constexpr std::size_t kSocketPathBytes = 107;  // sockaddr_un::sun_path, less the final 0.
constexpr unsigned kLastPort = 65533;          // Two more follow it.

struct TcpAddress {
  std::string host;  ///< IPv6 in brackets.
  unsigned port = kDefaultPort;
};

Result<TcpAddress> parse_tcp(const std::string& address) {
  const auto wrong = [&] {
    return invalid("expected tcp://HOST:PORT with PORT from 1 to " + std::to_string(kLastPort) +
                   ", found '" + address + "'");
  };
  if (!is_tcp(address)) return wrong();
  const std::string rest = address.substr(kTcp.size());
  TcpAddress parsed;
  const bool bracket = rest.starts_with('[');
  const std::size_t host_end = bracket ? rest.find(']') + 1 : std::min(rest.find(':'), rest.size());
  if (host_end == 0) return wrong();
  parsed.host = rest.substr(0, host_end);
  if (parsed.host.find_first_of("/;,@ *") != std::string::npos) return wrong();
  if (host_end == rest.size()) return parsed;
  const char* const end = rest.data() + rest.size();
  const auto number = std::from_chars(rest.data() + host_end + 1, end, parsed.port);
  const bool good = rest[host_end] == ':' && number.ec == std::errc{} && number.ptr == end;
  if (!good || parsed.port < 1 || parsed.port > kLastPort) return wrong();
  return parsed;
}

}  // namespace

Endpoints ipc_endpoints(const std::string& run_dir) {
  const std::string base = std::string(kIpc) + run_dir + "/";
  return {base + "client.sock", base + "control.sock", base + "data.sock"};
}

Result<Endpoints> tcp_endpoints(const std::string& address) {
  PA_ASSIGN(const TcpAddress parsed, parse_tcp(address));
  const auto at = [&](unsigned port) {
    return std::string(kTcp) + parsed.host + ":" + std::to_string(port);
  };
  return Endpoints{at(parsed.port), at(parsed.port + 1), at(parsed.port + 2)};
}

bool is_tcp(const std::string& endpoint) { return endpoint.starts_with(kTcp); }

Status check_endpoint(const std::string& endpoint) {
  if (is_tcp(endpoint)) {
    return invalid("TCP has CURVE keys and an address of its own; expected ipc:///PATH");
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

Status check_listen_address(const std::string& address) {
  PA_ASSIGN(const TcpAddress parsed, parse_tcp(address));
  std::string host = parsed.host;
  if (host.starts_with('[')) host = host.substr(1, host.size() - 2);
  if (check_ip_address(host).ok()) return {};
  return invalid("expected the IP address of this box to listen at, as in tcp://192.168.1.10:" +
                 std::to_string(kDefaultPort) + ", found '" + address + "'");
}

Status check_ip_address(const std::string& address) {
  in6_addr parsed{};  // Large enough for both families.
  if (::inet_pton(AF_INET, address.c_str(), &parsed) == 1) return {};
  if (::inet_pton(AF_INET6, address.c_str(), &parsed) == 1) return {};
  return invalid("expected an IP address, as in 127.0.0.1 or ::1");
}

}  // namespace pa
