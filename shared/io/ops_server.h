#pragma once

#include <memory>

#include "shared/io/health.h"
#include "shared/io/http_server.h"
#include "shared/io/metrics.h"

namespace pa {

/// Serves /metrics, /healthz and /readyz. `metrics` and `health` must outlive the server.
///
/// Errors: kUnavailable as HttpServer::start().
[[nodiscard]] Result<std::unique_ptr<HttpServer>> serve_operations(const HttpOptions& options,
                                                                   const Metrics& metrics,
                                                                   const Health& health);

}  // namespace pa
