pa_library(pa_worker_node
  SOURCES worker_node.cc
  DEPS pa_worker_core pa_request_json pa_wire)
