pa_benchmark(engine_bench TORCH SOURCES engine_bench.cc DEPS pa_engine pa_test_paths)
