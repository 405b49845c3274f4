#include "shared/io/daemon_settings.h"

#include "shared/io/endpoints.h"

namespace pa {

void add_http_settings(Settings& settings, HttpOptions& http, const std::string& port_reason) {
  settings.section("http", "Where /metrics, /healthz and /readyz are served.");
  settings.text(
      "http.address", [&http] { return http.address; },
      [&http](const std::string& text) -> Status {
        PA_TRY(check_ip_address(text));
        http.address = text;
        return {};
      },
      "IP address to listen on. Loopback, since nothing guards it: open it to a management "
      "network only.");
  settings.integer(
      "http.port", http.port, {0, 65535},
      "Fixed, so that Prometheus finds it; 0 takes a free one and logs it. " + port_reason);
}

void add_log_settings(Settings& settings, LogOptions& log) {
  settings.section("log", "One line an event, on standard error.");
  settings.choice("log.level", log.level, {kLogLevelNames.begin(), kLogLevelNames.end()},
                  "Events below it are not written.");
  settings.choice("log.format", log.format, {kLogFormatNames.begin(), kLogFormatNames.end()},
                  "Text for people, JSON for log collectors.");
}

void add_endpoint_setting(Settings& settings, const std::string& path, std::string& value,
                          const std::string& reason) {
  settings.text(
      path, [&value] { return value; },
      [&value](const std::string& text) -> Status {
        if (!text.empty()) PA_TRY(check_endpoint(text));
        value = text;
        return {};
      },
      reason);
}

}  // namespace pa
