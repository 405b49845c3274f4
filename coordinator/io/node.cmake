pa_library(pa_coordinator_node
  SOURCES coordinator_node.cc
  DEPS pa_coordinator_core pa_request_json pa_wire)
