pa_benchmark(engine_bench TORCH SOURCES engine_bench.cc DEPS pa_engine pa_test_paths)
pa_benchmark(arrivals_bench TORCH SOURCES arrivals_bench.cc DEPS pa_engine pa_test_paths)
