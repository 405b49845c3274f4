# Configuration, logs, metrics and HTTP: what operating a daemon takes.
pa_library(pa_endpoints SOURCES endpoints.cc DEPS pa_core)
pa_library(pa_cores SOURCES cores.cc)
pa_library(pa_yaml SOURCES yaml.cc DEPS pa_core deps::yaml)
pa_library(pa_log SOURCES log.cc log_format.cc log_limiter.cc DEPS pa_core deps::spdlog)
pa_library(pa_settings
  SOURCES settings.cc daemon_settings.cc daemon_options.cc
  DEPS pa_yaml pa_endpoints deps::cli11)
pa_library(pa_metrics SOURCES metrics.cc process_metrics.cc DEPS pa_core pa_log deps::prometheus)
pa_library(pa_blob_metrics SOURCES blob_metrics.cc DEPS pa_blob_store pa_metrics)
pa_library(pa_http SOURCES http_server.cc health.cc DEPS pa_core deps::civetweb)
pa_library(pa_ops_server SOURCES ops_server.cc DEPS pa_http pa_metrics)
