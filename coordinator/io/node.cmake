pa_library(pa_coordinator_node
  SOURCES coordinator_node.cc
  DEPS pa_coordinator_core pa_blob_store pa_journal pa_request_json pa_wire)
pa_library(pa_coordinator_notes
  SOURCES coordinator_notes.cc
  DEPS pa_coordinator_core pa_coordinator_metrics pa_log)
pa_library(pa_coordinator_costs
  SOURCES cost_file.cc
  DEPS pa_coordinator_core pa_log)
