#include "shared/io/ops_server.h"

namespace pa {

Result<std::unique_ptr<HttpServer>> serve_operations(const HttpOptions& options,
                                                     const Metrics& metrics, const Health& health) {
  return HttpServer::start(
      options, {{"/metrics",
                 [&metrics] {
                   return HttpResponse{.content_type = "text/plain; version=0.0.4; charset=utf-8",
                                       .body = metrics.scrape()};
                 }},
                {"/healthz", [&health] { return health.healthz(); }},
                {"/readyz", [&health] { return health.readyz(); }}});
}

}  // namespace pa
