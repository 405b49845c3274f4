pa_benchmark(engine_bench TORCH SOURCES engine_bench.cc DEPS pa_engine)
if(TARGET engine_bench)
  target_compile_definitions(engine_bench PRIVATE PA_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
endif()
