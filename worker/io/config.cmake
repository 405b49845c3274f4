pa_library(pa_worker_config
  SOURCES config.cc host_name.cc
  DEPS pa_settings pa_endpoints pa_cores)
