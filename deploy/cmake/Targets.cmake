# One way to declare each kind of target, so that every folder's CMakeLists.txt is a list.
#
# All find headers from the repository root, and take SOURCES and DEPS.

# pa_add_subdirectories([NAME...]): the named subfolders, or all, that have a CMakeLists.txt.
function(pa_add_subdirectories)
  set(names ${ARGN})
  if(NOT names)
    file(GLOB lists CONFIGURE_DEPENDS RELATIVE ${CMAKE_CURRENT_SOURCE_DIR} */CMakeLists.txt)
    foreach(list IN LISTS lists)
      get_filename_component(name ${list} DIRECTORY)
      list(APPEND names ${name})
    endforeach()
  endif()
  foreach(name IN LISTS names)
    if(EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/${name}/CMakeLists.txt)
      add_subdirectory(${name})
    endif()
  endforeach()
endfunction()

# Without the worker, targets that need LibTorch are left out, and programs and tests of them too.
function(pa_left_out result)
  set(left_out FALSE)
  if(NOT PA_WITH_WORKER)
    foreach(dependency IN LISTS ARGN)
      if(NOT TARGET ${dependency})
        set(left_out TRUE)
      endif()
    endforeach()
  endif()
  set(${result} ${left_out} PARENT_SCOPE)
endfunction()

# pa_library(NAME SOURCES a.cc ... DEPS x y ...): a static library, or an interface one without SOURCES.
function(pa_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  if(ARG_SOURCES)
    add_library(${name} STATIC ${ARG_SOURCES})
    target_link_libraries(${name} PUBLIC pa_options ${ARG_DEPS})
  else()
    add_library(${name} INTERFACE)
    target_link_libraries(${name} INTERFACE pa_options ${ARG_DEPS})
  endif()
endfunction()

# ATen takes ten seconds to parse: it is precompiled once, and every target that sees it reuses that.
if(PA_WITH_WORKER)
  file(GENERATE OUTPUT ${PROJECT_BINARY_DIR}/torch_pch.cc CONTENT "")
  add_library(pa_torch_pch OBJECT ${PROJECT_BINARY_DIR}/torch_pch.cc)
  target_link_libraries(pa_torch_pch PRIVATE pa_options deps::torch_cpu)
  target_precompile_headers(pa_torch_pch PRIVATE <ATen/ATen.h>)
endif()

# Links LibTorch to a target, with ATen precompiled.
function(pa_use_torch name)
  target_link_libraries(${name} PUBLIC deps::torch_cpu)
  target_precompile_headers(${name} REUSE_FROM pa_torch_pch)
endfunction()

# pa_torch_library(NAME SOURCES a.cc ... DEPS x y ...): a pa_library whose files see ATen. Worker only.
function(pa_torch_library name)
  if(PA_WITH_WORKER)
    pa_library(${name} ${ARGN})
    pa_use_torch(${name})
  endif()
endfunction()

# pa_program(NAME [TORCH] SOURCES main.cc ... DEPS x y ...): an executable in bin/. TORCH: its files see ATen.
function(pa_program name)
  cmake_parse_arguments(ARG "TORCH" "" "SOURCES;DEPS" ${ARGN})
  pa_left_out(left_out ${ARG_DEPS})
  if(left_out OR (ARG_TORCH AND NOT PA_WITH_WORKER))
    return()
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PUBLIC pa_options ${ARG_DEPS})
  if(ARG_TORCH)
    pa_use_torch(${name})
  endif()
  set_property(GLOBAL APPEND PROPERTY PA_PROGRAMS ${name})
endfunction()

# pa_test(NAME [TORCH] LABEL unit|contract|sim|process [TIMEOUT s] SOURCES a_test.cc ... DEPS x y ...):
# a GoogleTest program, one CTest entry; those of processes run alone. TORCH: its files see ATen.
function(pa_test name)
  cmake_parse_arguments(ARG "TORCH" "LABEL;TIMEOUT" "SOURCES;DEPS" ${ARGN})
  pa_left_out(left_out ${ARG_DEPS})
  if(left_out OR (ARG_TORCH AND NOT PA_WITH_WORKER))
    return()
  endif()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 1800)
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PUBLIC
    pa_options ${ARG_DEPS} pa_test_paths GTest::gmock GTest::gtest_main)
  if(ARG_TORCH)
    pa_use_torch(${name})
  endif()
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
  add_test(NAME ${name}
    COMMAND ${name} --gtest_brief=1 --gtest_output=xml:${PROJECT_BINARY_DIR}/test-results/${name}.xml)
  set_tests_properties(${name} PROPERTIES LABELS ${ARG_LABEL} TIMEOUT ${ARG_TIMEOUT})
  if(ARG_LABEL STREQUAL "process")
    set_tests_properties(${name} PROPERTIES RUN_SERIAL ON)
  endif()
endfunction()

# pa_pytest(NAME LABEL process|e2e [TIMEOUT s] FILE test_x.py): a pytest file, one CTest entry, run alone. The
# environment names the programs' folder (PA_BIN_DIR) and the repository (PA_SOURCE_DIR).
function(pa_pytest name)
  cmake_parse_arguments(ARG "" "LABEL;TIMEOUT;FILE" "" ${ARGN})
  if(NOT PA_WITH_WORKER)
    return()
  endif()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 1800)
  endif()
  add_test(NAME ${name} WORKING_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR}
    COMMAND ${PA_PYTHON} -B -m pytest -q -p no:cacheprovider
      --junit-xml=${PROJECT_BINARY_DIR}/test-results/${name}.xml ${ARG_FILE})
  set_tests_properties(${name} PROPERTIES
    LABELS ${ARG_LABEL} TIMEOUT ${ARG_TIMEOUT} RUN_SERIAL ON
    ENVIRONMENT "PA_BIN_DIR=${CMAKE_RUNTIME_OUTPUT_DIRECTORY};PA_SOURCE_DIR=${PROJECT_SOURCE_DIR}")
endfunction()

# pa_benchmark(NAME [TORCH] SOURCES a_bench.cc ... DEPS x y ...): a Google Benchmark program in bench/.
# Built with everything else, run by hand.
function(pa_benchmark name)
  cmake_parse_arguments(ARG "TORCH" "" "SOURCES;DEPS" ${ARGN})
  pa_left_out(left_out ${ARG_DEPS})
  if(left_out OR (ARG_TORCH AND NOT PA_WITH_WORKER))
    return()
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PUBLIC pa_options ${ARG_DEPS} benchmark::benchmark)
  if(ARG_TORCH)
    pa_use_torch(${name})
  endif()
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bench)
endfunction()
