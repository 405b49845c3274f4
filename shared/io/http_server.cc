#include "shared/io/http_server.h"

#include <civetweb.h>

#include <array>
#include <cstring>
#include <exception>
#include <mutex>
#include <vector>

#include "shared/core/utf8.h"

namespace pa {

struct HttpServer::State {
  std::map<std::string, Handler> handlers;
  mg_context* context = nullptr;
  std::int64_t port = 0;
  std::mutex mutex;
  std::string last_error;  // Guarded by mutex. What civetweb last complained of.
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

}  // namespace

Result<std::unique_ptr<HttpServer>> HttpServer::start(const HttpOptions& options,
                                                      std::map<std::string, Handler> handlers) {
  static std::once_flag once;
  std::call_once(once, [] { mg_init_library(MG_FEATURES_DEFAULT); });

  auto state = std::make_unique<State>();
  state->handlers = std::move(handlers);

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
      owner->last_error = message;
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
  state->context = mg_start(&callbacks, state.get(), const_cast<const char**>(settings.data()));
  if (state->context == nullptr) {
    return unavailable("cannot serve HTTP on " + where + ": " + to_valid_utf8(state->last_error));
  }
  std::array<mg_server_port, 1> ports{};
  if (mg_get_server_ports(state->context, 1, ports.data()) == 1) state->port = ports[0].port;
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(state)));
}

HttpServer::HttpServer(std::unique_ptr<State> state) : state_(std::move(state)) {}

HttpServer::~HttpServer() { mg_stop(state_->context); }

std::int64_t HttpServer::port() const { return state_->port; }

}  // namespace pa
