#pragma once

#include <string>

#include "shared/io/http_server.h"
#include "shared/io/log.h"
#include "shared/io/settings.h"

/// Keys that both daemons have.
namespace pa {

/// http.address and http.port. `port_reason` says what is special about this daemon's port.
void add_http_settings(Settings& settings, HttpOptions& http, const std::string& port_reason);

/// log.level and log.format.
void add_log_settings(Settings& settings, LogOptions& log);

/// A string that is empty or an endpoint by check_endpoint().
void add_endpoint_setting(Settings& settings, const std::string& path, std::string& value,
                          const std::string& reason);

}  // namespace pa
