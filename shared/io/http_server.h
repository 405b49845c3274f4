#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "shared/core/result.h"

namespace pa {

struct HttpOptions {
  std::string address = "127.0.0.1";  ///< IPv4 or IPv6.
  std::int64_t port = 0;              ///< 0: a free one.
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
};

/// Answers GET and HEAD of a few fixed paths, for operators and their machines. No TLS, no
/// authentication, no request body.
///
/// Runs four threads of its own, and gives a client two seconds for its request: half-sent
/// requests delay others by that much, and cost the rest of the process nothing.
class HttpServer {
 public:
  /// Called on a server thread, several at a time. Must not wait for the loop.
  using Handler = std::function<HttpResponse()>;

  /// Listens, and answers from now on. Paths without a handler get 404.
  ///
  /// Errors: kUnavailable, the address cannot be listened on; the message says why.
  [[nodiscard]] static Result<std::unique_ptr<HttpServer>> start(
      const HttpOptions& options, std::map<std::string, Handler> handlers);

  /// Stops, and waits for handlers that run.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  /// The port it listens on, also if options.port was 0.
  [[nodiscard]] std::int64_t port() const;

 private:
  struct State;
  explicit HttpServer(std::unique_ptr<State> state);

  std::unique_ptr<State> state_;
};

}  // namespace pa
