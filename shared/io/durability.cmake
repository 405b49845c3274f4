# What keeping things safe takes: digests, and failures on demand.
if(TARGET deps::xxhash_dispatch)
  pa_library(pa_digest SOURCES digest.cc DEPS pa_core deps::xxhash_dispatch)
else()
  pa_library(pa_digest SOURCES digest.cc DEPS pa_core deps::xxhash)
endif()
pa_library(pa_blob_store SOURCES blob_store.cc DEPS pa_digest pa_wire)
pa_library(pa_failpoint SOURCES failpoint.cc DEPS pa_core)
