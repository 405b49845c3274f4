#include "shared/io/http_server.h"

#include <arpa/inet.h>
#include <civetweb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <exception>
#include <mutex>
#include <string_view>
#include <thread>

#include "shared/core/utf8.h"

namespace pa {

struct HttpServer::State {
  std::map<std::string, Handler> handlers;
  mg_context* context = nullptr;
  std::string address;
  std::int64_t port = 0;
  std::mutex mutex;
  std::string first_error;  // Guarded by mutex. What civetweb complained of first.
};

namespace {

std::string_view reason_of(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 503:
      return "Service Unavailable";
    default:
      return "Internal Server Error";
  }
}

HttpResponse call(const HttpServer::Handler& handler) {
  try {
    return handler();
  } catch (const std::exception& exception) {
    return {.status = 500, .body = std::string(exception.what()) + "\n"};
  }
}

/// Answers the request, and returns the status, which tells civetweb that it is done.
int respond(mg_connection* connection, const HttpResponse& response, bool with_body) {
  std::string head = "HTTP/1.1 " + std::to_string(response.status) + " ";
  head.append(reason_of(response.status));
  head += "\r\nContent-Type: " + response.content_type +
          "\r\nContent-Length: " + std::to_string(response.body.size()) +
          "\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n";
  if (with_body) head += response.body;
  mg_write(connection, head.data(), head.size());
  return response.status;
}

/// Connects and goes away, without waiting.
void touch(const std::string& address, std::int64_t port) {
  const bool ipv6 = address.find(':') != std::string::npos;
  const int fd = ::socket(ipv6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<std::uint16_t>(port));
  sockaddr_in6 to6{};
  to6.sin6_family = AF_INET6;
  to6.sin6_port = to.sin_port;
  ::inet_pton(AF_INET, address.c_str(), &to.sin_addr);
  ::inet_pton(AF_INET6, address.c_str(), &to6.sin6_addr);
  if (ipv6) {
    (void)::connect(fd, reinterpret_cast<const sockaddr*>(&to6), sizeof to6);
  } else {
    (void)::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to);
  }
  ::close(fd);
}

}  // namespace

Result<std::unique_ptr<HttpServer>> HttpServer::start(const HttpOptions& options,
                                                      std::map<std::string, Handler> handlers) {
  static std::once_flag once;
  std::call_once(once, [] { mg_init_library(MG_FEATURES_DEFAULT); });

  auto state = std::make_unique<State>();
  state->handlers = std::move(handlers);
  state->address = options.address;

  mg_callbacks callbacks{};
  callbacks.begin_request = [](mg_connection* connection) {
    const mg_request_info* const request = mg_get_request_info(connection);
    const auto& served = static_cast<const State*>(request->user_data)->handlers;
    const std::string_view method = request->request_method;
    const bool head = method == "HEAD";
    if (!head && method != "GET") {
      return respond(connection, {.status = 405, .body = "GET or HEAD only\n"}, true);
    }
    const auto found = served.find(request->local_uri != nullptr ? request->local_uri : "");
    if (found == served.end()) {
      HttpResponse missing{.status = 404, .body = "there are:"};
      for (const auto& [path, handler] : served) missing.body += " " + path;
      missing.body += "\n";
      return respond(connection, missing, !head);
    }
    return respond(connection, call(found->second), !head);
  };
  callbacks.log_message = [](const mg_connection* connection, const char* message) {
    const mg_context* const context = mg_get_context(connection);
    if (auto* const owner = static_cast<State*>(mg_get_user_data(context)); owner != nullptr) {
      const std::lock_guard lock(owner->mutex);
      if (owner->first_error.empty()) owner->first_error = message;
    }
    return 1;  // Said; nothing goes to standard error.
  };

  const bool ipv6 = options.address.find(':') != std::string::npos;
  const std::string where =
      (ipv6 ? "[" + options.address + "]" : options.address) + ":" + std::to_string(options.port);
  const std::array<const char*, 13> settings{"listening_ports",
                                             where.c_str(),
                                             "num_threads",
                                             "4",
                                             "request_timeout_ms",
                                             "2000",
                                             "keep_alive_timeout_ms",
                                             "0",
                                             "enable_keep_alive",
                                             "no",
                                             "linger_timeout_ms",
                                             "1000",
                                             nullptr};
  // Its threads inherit the mask: signals are for the loop.
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  state->context = mg_start(&callbacks, state.get(), const_cast<const char**>(settings.data()));
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (state->context == nullptr) {
    return unavailable("cannot serve HTTP on " + where + ": " + to_valid_utf8(state->first_error));
  }
  std::array<mg_server_port, 1> ports{};
  if (mg_get_server_ports(state->context, 1, ports.data()) == 1) state->port = ports[0].port;
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(state)));
}

HttpServer::HttpServer(std::unique_ptr<State> state) : state_(std::move(state)) {}

HttpServer::~HttpServer() {
  // civetweb looks for the end every 2 seconds, or when somebody connects.
  std::atomic<bool> stopped = false;
  std::thread waker([&] {
    while (!stopped) {
      touch(state_->address, state_->port);
      std::this_thread::sleep_for(std::chrono::milliseconds{5});
    }
  });
  mg_stop(state_->context);
  stopped = true;
  waker.join();
}

std::int64_t HttpServer::port() const { return state_->port; }

}  // namespace pa
