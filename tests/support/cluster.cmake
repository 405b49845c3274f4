pa_library(pa_sim_cluster
  SOURCES sim_cluster.cc sim_compute.cc
  DEPS pa_client pa_coordinator_node pa_worker_node pa_sim_network)

pa_library(pa_policy_sim
  SOURCES chrome_trace.cc policy_sim.cc
  DEPS pa_coordinator_core)
