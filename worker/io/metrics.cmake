pa_library(pa_worker_metrics SOURCES worker_metrics.cc DEPS pa_metrics)
