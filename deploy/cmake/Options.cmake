# Compiler flags common to every target, and the switches a preset may set.

option(PA_BUILD_TESTS "Build the tests and benchmarks." ON)
option(PA_WITH_WORKER "Build what needs LibTorch: the worker, but for its core." ON)
# On with the compilers that the tests run with: another may warn of what nobody has seen yet, and a
# stranger's build must not fail for that.
set(tested_compiler OFF)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION MATCHES "^12\\.")
  set(tested_compiler ON)
elseif(CMAKE_CXX_COMPILER_ID STREQUAL "Clang" AND CMAKE_CXX_COMPILER_VERSION MATCHES "^14\\.")
  set(tested_compiler ON)
endif()
option(PA_WARNINGS_AS_ERRORS "Fail on compiler warnings." ${tested_compiler})
set(PA_SANITIZE "" CACHE STRING "Sanitizers to build with: empty, address,undefined or thread.")

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
set(CMAKE_INSTALL_RPATH_USE_LINK_PATH ON)  # The installed worker finds LibTorch where the build did,
set(CMAKE_BUILD_WITH_INSTALL_RPATH ON)      # and is the same file.

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()

# The base directory lets a build in another clone hit the same cache entries; the sloppiness is
# what ccache asks for with precompiled headers.
find_program(PA_CCACHE ccache)
if(PA_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER env CCACHE_BASEDIR=${PROJECT_SOURCE_DIR} CCACHE_NOHASHDIR=1
    CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${PA_CCACHE})
endif()

find_package(Threads REQUIRED)

add_library(pa_options INTERFACE)
target_include_directories(pa_options INTERFACE ${PROJECT_SOURCE_DIR})
target_link_libraries(pa_options INTERFACE Threads::Threads)
target_compile_options(pa_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion
  -Wnon-virtual-dtor -Woverloaded-virtual -Wunused -Wno-missing-field-initializers
  -fno-omit-frame-pointer)
if(PA_WARNINGS_AS_ERRORS)
  target_compile_options(pa_options INTERFACE -Werror)
endif()
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  target_compile_options(pa_options INTERFACE -Wthread-safety)
else()
  # ccache needs the first to see precompiled headers; GCC 12 misreads string assignments (PR 105651).
  target_compile_options(pa_options INTERFACE -fpch-preprocess -Wno-restrict)
endif()

if(PA_SANITIZE)
  # GCC's flow analysis sees instrumented code and warns of what cannot happen.
  target_compile_options(pa_options INTERFACE
    -fsanitize=${PA_SANITIZE} -fno-sanitize-recover=all
    $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
  target_link_options(pa_options INTERFACE -fsanitize=${PA_SANITIZE})
endif()

include(CheckLinkerFlag)
foreach(linker mold lld)
  check_linker_flag(CXX -fuse-ld=${linker} PA_HAVE_${linker})
  if(PA_HAVE_${linker})
    target_link_options(pa_options INTERFACE -fuse-ld=${linker})
    break()
  endif()
endforeach()

# GCC 12 sees overlapping copies in std::string's operator+ that are not there (GCC bug 105651).
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  target_compile_options(pa_options INTERFACE -Wno-restrict)
endif()
