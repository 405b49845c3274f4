pa_benchmark(schedule_bench SOURCES schedule_bench.cc DEPS pa_coordinator_core)
pa_benchmark(poisson_bench SOURCES poisson_bench.cc DEPS pa_sim_cluster)
