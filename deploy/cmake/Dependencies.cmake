# Third-party libraries, each as an imported target `deps::NAME`, taken from the system.
#
# Their headers count as system headers, so our warnings do not reach into them.

# Fails with one sentence that says how to get what is missing.
function(pa_missing what)
  set(script deploy/install_deps.sh)
  set(otherwise "tell CMake where it is with CMAKE_PREFIX_PATH")
  if(what MATCHES "^(GTest|benchmark)$")
    string(APPEND script " --dev")
    string(APPEND otherwise ", or leave tests out with -D PA_BUILD_TESTS=OFF")
  endif()
  message(FATAL_ERROR "${what} was not found: run ${script}, or ${otherwise}.")
endfunction()

# pa_dependency(NAME PACKAGE p TARGETS t...): deps::NAME from a CMake package config.
# pa_dependency(NAME HEADER h LIBRARIES l...): deps::NAME from a header and library names.
# DEFINE and DEPS add definitions and further targets.
function(pa_dependency name)
  cmake_parse_arguments(ARG "" "PACKAGE;HEADER" "TARGETS;LIBRARIES;DEFINE;DEPS" ${ARGN})
  add_library(deps::${name} INTERFACE IMPORTED GLOBAL)
  if(ARG_PACKAGE)
    find_package(${ARG_PACKAGE} QUIET)
    foreach(target IN LISTS ARG_TARGETS)
      if(NOT TARGET ${target})
        pa_missing(${ARG_PACKAGE})
      endif()
    endforeach()
    target_link_libraries(deps::${name} INTERFACE ${ARG_TARGETS})
  else()
    find_path(PA_${name}_INCLUDE ${ARG_HEADER})
    mark_as_advanced(PA_${name}_INCLUDE)
    if(NOT PA_${name}_INCLUDE)
      pa_missing(${ARG_HEADER})
    endif()
    target_include_directories(deps::${name} INTERFACE ${PA_${name}_INCLUDE})
    foreach(library IN LISTS ARG_LIBRARIES)
      find_library(PA_${name}_${library} ${library})
      mark_as_advanced(PA_${name}_${library})
      if(NOT PA_${name}_${library})
        pa_missing(lib${library})
      endif()
      target_link_libraries(deps::${name} INTERFACE ${PA_${name}_${library}})
    endforeach()
  endif()
  target_link_libraries(deps::${name} INTERFACE ${ARG_DEPS})
  target_compile_definitions(deps::${name} INTERFACE ${ARG_DEFINE})
endfunction()

pa_dependency(libzmq HEADER zmq.h LIBRARIES zmq)
pa_dependency(zmq HEADER zmq.hpp DEPS deps::libzmq)
pa_dependency(msgpack HEADER msgpack.hpp DEFINE MSGPACK_NO_BOOST)
pa_dependency(yaml PACKAGE yaml-cpp TARGETS yaml-cpp)
pa_dependency(prometheus PACKAGE prometheus-cpp TARGETS prometheus-cpp::core)
pa_dependency(prometheus_pull PACKAGE prometheus-cpp TARGETS prometheus-cpp::pull)
pa_dependency(civetweb HEADER CivetServer.h LIBRARIES civetweb civetweb-cpp)
pa_dependency(spdlog PACKAGE spdlog TARGETS spdlog::spdlog)
pa_dependency(cli11 PACKAGE CLI11 TARGETS CLI11::CLI11)
pa_dependency(json PACKAGE nlohmann_json TARGETS nlohmann_json::nlohmann_json)
pa_dependency(xxhash HEADER xxhash.h DEFINE XXH_INLINE_ALL)

# Where the system's xxHash chooses among its loops at run time, it is 1.4 times as fast.
include(CheckCXXSourceCompiles)
set(CMAKE_REQUIRED_LIBRARIES xxhash)
check_cxx_source_compiles("
  #include <xxh_x86dispatch.h>
  int main() { return static_cast<int>(XXH3_128bits(nullptr, 0).low64); }" PA_XXHASH_DISPATCHES)
unset(CMAKE_REQUIRED_LIBRARIES)
if(PA_XXHASH_DISPATCHES)
  pa_dependency(xxhash_dispatch HEADER xxh_x86dispatch.h LIBRARIES xxhash
                DEFINE PA_XXHASH_DISPATCHES)
endif()
pa_dependency(png PACKAGE PNG TARGETS PNG::PNG)
pa_dependency(sqlite PACKAGE SQLite3 TARGETS SQLite::SQLite3)
pa_dependency(sodium HEADER sodium.h LIBRARIES sodium)

if(PA_BUILD_TESTS)
  pa_dependency(gtest PACKAGE GTest TARGETS GTest::gtest_main GTest::gmock)
  pa_dependency(benchmark PACKAGE benchmark TARGETS benchmark::benchmark)
endif()

# deps::torch_cpu: LibTorch without its CMake package, which would demand a CUDA toolkit.
#
# Links libtorch_cpu and libc10 only; CUDA comes by dlopen at run time. Its include directory holds
# an fmt of its own, so a file that sees ATen must not use spdlog or the system's fmt.
set(LIBTORCH "$ENV{LIBTORCH}" CACHE PATH "LibTorch: its own folder, or one with torch/ in it.")

function(pa_find_libtorch)
  if(LIBTORCH)
    set(roots ${LIBTORCH})
  else()
    set(cache "$ENV{XDG_CACHE_HOME}")
    if(NOT cache)
      set(cache "$ENV{HOME}/.cache")
    endif()
    set(roots ${CMAKE_PREFIX_PATH} ${cache}/parallelanything/libtorch-2.15.0)
  endif()
  foreach(root IN LISTS roots)
    foreach(folder ${root} ${root}/torch ${root}/libtorch)
      set(torch_cpu ${folder}/lib/${CMAKE_SHARED_LIBRARY_PREFIX}torch_cpu${CMAKE_SHARED_LIBRARY_SUFFIX})
      set(c10 ${folder}/lib/${CMAKE_SHARED_LIBRARY_PREFIX}c10${CMAKE_SHARED_LIBRARY_SUFFIX})
      if(EXISTS ${folder}/include/ATen/ATen.h AND EXISTS ${torch_cpu} AND EXISTS ${c10})
        message(STATUS "LibTorch: ${folder}")
        add_library(deps::c10 SHARED IMPORTED GLOBAL)
        set_target_properties(deps::c10 PROPERTIES IMPORTED_LOCATION ${c10})
        add_library(deps::torch_cpu SHARED IMPORTED GLOBAL)
        set_target_properties(deps::torch_cpu PROPERTIES IMPORTED_LOCATION ${torch_cpu})
        target_include_directories(deps::torch_cpu INTERFACE
          ${folder}/include ${folder}/include/torch/csrc/api/include)
        target_link_libraries(deps::torch_cpu INTERFACE deps::c10)
        # Where a wheel keeps the CUDA runtime that libtorch_cpu names; its own RPATH finds it later.
        if(EXISTS ${folder}/../nvidia/cu13/lib)
          target_link_options(deps::torch_cpu INTERFACE LINKER:-rpath-link,${folder}/../nvidia/cu13/lib)
        endif()
        return()
      endif()
    endforeach()
  endforeach()
  message(FATAL_ERROR
    "LibTorch was not found: run deploy/fetch_libtorch.sh, or configure with -DLIBTORCH=DIR or -DPA_WITH_WORKER=OFF.")
endfunction()

if(PA_WITH_WORKER)
  pa_find_libtorch()
  find_package(CUDAToolkit QUIET)
  set(PA_HAVE_CUDA_TOOLKIT ${CUDAToolkit_FOUND})
endif()
