pa_library(pa_coordinator_config SOURCES config.cc DEPS pa_settings pa_endpoints)
