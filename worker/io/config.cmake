pa_library(pa_worker_config SOURCES config.cc DEPS pa_settings pa_endpoints pa_cores)
