pa_program(forward_bench TORCH SOURCES forward_bench.cc DEPS pa_models)
if(TARGET forward_bench)
  set_target_properties(forward_bench PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bench)
endif()
