pa_library(pa_worker_node
  SOURCES row_placement.cc shared_shard.cc worker_node.cc
  DEPS pa_blob_store pa_worker_core pa_request_json pa_wire)
pa_library(pa_worker_notes
  SOURCES worker_notes.cc
  DEPS pa_worker_core pa_worker_metrics pa_log)
pa_torch_library(pa_compute_thread
  SOURCES compute_thread.cc
  DEPS pa_engine pa_log pa_models pa_loop pa_queue)
