# Configuration, logs, metrics and HTTP: what operating a daemon takes.
pa_library(pa_endpoints SOURCES endpoints.cc DEPS pa_core)
pa_library(pa_cores SOURCES cores.cc)
pa_library(pa_yaml SOURCES yaml.cc DEPS pa_core deps::yaml)
pa_library(pa_log SOURCES log.cc log_format.cc log_limiter.cc DEPS pa_core deps::spdlog)
pa_library(pa_settings
  SOURCES settings.cc daemon_settings.cc daemon_options.cc
  DEPS pa_yaml pa_endpoints deps::cli11)
